"""Seeded initial weights: PyTorch's own scheme of each module, or a named scheme on every weight matrix."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive
from digsite.train.member import Member

SCHEMES: dict[str, Callable[..., Tensor]] = {
    "he_normal": nn.init.kaiming_normal_,
    "he_uniform": nn.init.kaiming_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}


def initialize(model: nn.Module, member: Member, built: bool = False) -> None:
    """Overwrite the weights of `model` with those of the member's stream "init"; `built`: just built from it."""
    seed = derive(member.seed, "init")
    uncovered = []
    if not built:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            uncovered = _reset(model)
    if uncovered:
        raise UsageError(
            f"the parameter '{uncovered[0]}' has no seeded initial value: its module has no reset_parameters()",
            hint="pass a function that builds the model instead of a built model",
        )
    apply_scheme(model, member, torch.Generator().manual_seed(seed))


def apply_scheme(model: nn.Module, member: Member, generator: torch.Generator) -> None:
    """Redraw every weight of two or more axes by the member's scheme (biases to zero), then scale it."""
    named = member.init != "default"
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                if named:
                    _draw(parameter, member, generator)
                if member.init_scale != 1 and member.init not in ("normal", "truncated_normal"):
                    parameter.mul_(member.init_scale)
        if named:
            for module in model.modules():
                bias = getattr(module, "bias", None)
                if isinstance(bias, Tensor) and isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
                    bias.zero_()


def _draw(weight: Tensor, member: Member, generator: torch.Generator) -> None:
    scale = member.init_scale
    if member.init == "normal":
        nn.init.normal_(weight, std=scale, generator=generator)
    elif member.init == "truncated_normal":
        nn.init.trunc_normal_(weight, std=scale, a=-2 * scale, b=2 * scale, generator=generator)
    elif member.init.startswith("he_"):
        SCHEMES[member.init](weight, nonlinearity="relu", generator=generator)
    else:
        SCHEMES[member.init](weight, generator=generator)


def _reset(model: nn.Module) -> list[str]:
    """Call every reset_parameters, inner modules first; the names of parameters that none of them covers."""
    left: list[str] = []

    def visit(module: nn.Module, prefix: str, covered: bool) -> None:
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        covered = covered or callable(reset)
        for name, child in module.named_children():
            visit(child, f"{prefix}{name}.", covered)
        if callable(reset):
            reset()
        elif not covered:
            left.extend(prefix + name for name, _ in module.named_parameters(recurse=False))

    visit(model, "", False)
    return left
