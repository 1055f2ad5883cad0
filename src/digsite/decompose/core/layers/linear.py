"""Dense layers: y = x W^T + b."""

from torch import Tensor, nn


def matches(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def matrix(module: nn.Linear) -> Tensor:
    return module.weight.T


def read(module: nn.Linear, x: Tensor, weight: Tensor) -> Tensor:
    """Inner activations (..., C) of `weight` (d_in, C); also the layer itself when given its own matrix."""
    return x @ weight


def finish(module: nn.Linear, y: Tensor) -> Tensor:
    return y if module.bias is None else y + module.bias


def assign(module: nn.Linear, weight: Tensor) -> None:
    module.weight.data = weight.T.contiguous().to(module.weight.dtype)
