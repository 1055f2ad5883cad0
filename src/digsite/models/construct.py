"""From a config to a module.

Two things are kept apart here on purpose: what a network is (`empty`, whose weights are about to be overwritten
by a checkpoint) and what it starts from (`init`). Every draw comes from a generator that is handed over or made
from a seed: torch's global generator stays where it was, so building a model changes nobody's random numbers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.config import Config


@public_method()
def build(config: Config, seed: int = 0) -> nn.Module:
    """A module with its default initial weights; PyTorch's global generator is left as it was.

    `config` is one of the configs in `digsite.models.configs`, `seed` that of the initial weights: the same
    seed gives the same bytes on every device, because all draws are made on the CPU.
    """
    model = empty(config)
    init(model, seed)
    return model


@public_method()
def empty(config: Config) -> nn.Module:
    """A module whose weights are about to be overwritten.

    `config` is one of the configs in `digsite.models.configs`. The module remembers it as `config`.
    """
    kind = getattr(config, "kind", None)
    assert isinstance(kind, str), f"{type(config).__name__} is no model config"
    with torch.random.fork_rng(devices=[]):
        model = families.scan_member("digsite.models.architectures", kind)(config)
    model.config = config  # so that a saved model says how to build it again
    return model


class _NoDraws(TorchFunctionMode):
    """Normal draws are left out: on the meta device torch imports its compiler for them, 1.5 seconds for no number."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is nn.init.normal_:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def without_memory() -> Iterator[None]:
    """Modules made inside have names and shapes, and no numbers."""
    with torch.device("meta"), _NoDraws():
        yield


# Seeded initial weights: each module's own scheme, or a named one on every weight matrix.

Draw = Callable[[Tensor, torch.Generator], object]

_RELATIVE: dict[str, Draw] = {
    "he_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "he_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
    "glorot_normal": lambda w, g: nn.init.xavier_normal_(w, generator=g),
    "glorot_uniform": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "orthogonal": lambda w, g: nn.init.orthogonal_(w, generator=g),
}
_ALIASES = {"he": "he_normal", "glorot": "glorot_uniform", "truncated": "truncated_normal"}
SCHEMES = ("default", *_RELATIVE, "normal", "truncated_normal")


@public_method()
def init(
    model: nn.Module, seed: int | torch.Generator = 0, scheme: str = "default", scale: float = 1.0
) -> nn.Module:
    """Overwrite all weights in place and return the model.

    `scale` is the standard deviation for `normal` and `truncated_normal` (cut at two of them), for the others
    a factor on the weight matrices. A named scheme sets biases to zero and leaves norms at one.

    `seed` is a number, or a generator that the caller goes on with.
    """
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in SCHEMES:
        raise UsageError(f"There is no initialization scheme '{scheme}'.", hint=name_nearest(scheme, SCHEMES))
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    _reset_modules(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                _draw_weight(parameter, scheme, scale, generator)
        if scheme != "default":
            _zero_biases(model)
    return model


def _reset_modules(model: nn.Module, generator: torch.Generator) -> None:
    """Every `reset_parameters`, inner modules first, on a forked global generator: torch's take no other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        for module in _children_first(model):
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def _children_first(module: nn.Module) -> list[nn.Module]:
    """Inner modules come first, so that a model's own scheme (GPT-2's, the toys') has the last word over its
    layers'.
    """
    return [m for child in module.children() for m in _children_first(child)] + [module]


def _draw_weight(weight: Tensor, scheme: str, scale: float, generator: torch.Generator) -> None:
    """`weight` (out, in, ...) is overwritten; with the default scheme only `scale` acts on what was drawn
    before.
    """
    drawn = torch.empty(weight.shape)  # on the CPU, so that every device starts from the same numbers
    if scheme == "normal":
        weight.copy_(drawn.normal_(std=scale, generator=generator))
    elif scheme == "truncated_normal":
        nn.init.trunc_normal_(drawn, std=scale, a=-2 * scale, b=2 * scale, generator=generator)
        weight.copy_(drawn)
    elif scheme in _RELATIVE:
        _RELATIVE[scheme](drawn, generator)
        weight.copy_(drawn * scale)
    elif scale != 1:
        weight.mul_(scale)


def _zero_biases(model: nn.Module) -> None:
    """Every parameter whose own name begins with `bias`, in place."""
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2].startswith("bias"):
            parameter.zero_()
