"""GPT-2's dense layers, which keep their weight as (d_in, d_out): y = x W + b."""

from torch import Tensor, nn


def matches(module: nn.Module) -> bool:
    # By name: the class lives in an optional dependency, and look-alikes are common.
    weight = getattr(module, "weight", None)
    return type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.ndim == 2


def matrix(module: nn.Module) -> Tensor:
    return module.weight  # type: ignore[return-value]


def read(module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


def finish(module: nn.Module, y: Tensor) -> Tensor:
    bias = getattr(module, "bias", None)
    return y if bias is None else y + bias


def assign(module: nn.Module, weight: Tensor) -> None:
    module.weight.data = weight.contiguous().to(module.weight.dtype)  # type: ignore[union-attr]
