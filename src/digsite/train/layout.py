"""K networks as one (K, P) matrix: one row per network, one span of columns per trained parameter tensor."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.models.construct import init
from digsite.train.member import Member, Model


@dataclass(frozen=True)
class Layout:
    """Where each trained parameter lies in a row; frozen ones travel with the buffers."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: nn.Module) -> "Layout":
        """Trained parameters in the module's own order."""
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        return cls(tuple(name for name, _ in named), tuple(tuple(p.shape) for _, p in named))

    @property
    def sizes(self) -> list[int]:
        """Numbers of each parameter."""
        return [prod(shape) for shape in self.shapes]

    @property
    def width(self) -> int:
        """P, the length of a row."""
        return sum(self.sizes)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Tensors (K, *shape) that share memory with `flat`.

        A write into a view is a write into the row.
        """
        parts = flat.split(self.sizes, dim=-1)
        lead = flat.shape[:-1]
        return {n: part.view(*lead, *s) for n, part, s in zip(self.names, parts, self.shapes, strict=True)}

    def join(self, tensors: Mapping[str, Tensor], out: Tensor) -> Tensor:
        """Write (K, *shape) tensors into the rows of `out`."""
        torch.cat([tensors[name].reshape(len(out), -1) for name in self.names], dim=1, out=out)
        return out

    def row(self, model: nn.Module) -> Tensor:
        """The parameters of one network as a row."""
        return torch.cat([p.detach().reshape(-1) for p in model.parameters() if p.requires_grad])


def list_untrained(model: nn.Module) -> dict[str, Tensor]:
    """Frozen parameters and buffers: what a member has beside its row."""
    frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    return {**frozen, **dict(model.named_buffers())}


# The initial weights of a member, from its own stream.


def draw_initial(model: Model, scratch: nn.Module, member: Member) -> nn.Module:
    """A module with the member's first weights; a function that builds the model is called under its seed.

    `scratch` is a module that may be overwritten, so that drawing K members builds one network and not K.
    """
    seed = derive_seed(member.seed, "init")
    if isinstance(model, nn.Module):
        _check_covered(scratch)
    else:
        scratch = build_seeded(model, seed)
    if isinstance(model, nn.Module) or member.init != "default" or member.init_scale != 1:
        init(scratch, seed, member.init, member.init_scale)
    return scratch


def build_seeded(factory: Model, seed: int) -> nn.Module:
    """Call a user's factory with PyTorch's global generator seeded, and leave that generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return factory()


def _check_covered(model: nn.Module) -> None:
    """A parameter that no reset_parameters() redraws would be the same in every member."""
    covered = {
        id(parameter)
        for module in model.modules()
        if callable(getattr(module, "reset_parameters", None))
        for parameter in module.parameters()
    }
    for name, parameter in model.named_parameters():
        if id(parameter) not in covered:
            raise UsageError(
                f"the parameter '{name}' has no seeded initial value: its module has no reset_parameters()",
                hint="Pass a function that builds the model instead of a built model.",
            )
