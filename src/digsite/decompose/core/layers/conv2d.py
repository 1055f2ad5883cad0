"""Convolutions: the matrix maps a patch (channels x height x width) to output channels; a position is a pixel."""

from torch import Tensor, nn
from torch.nn import functional as F


def matches(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros"


def matrix(module: nn.Conv2d) -> Tensor:
    return module.weight.flatten(1).T


def read(module: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    """Channels last, so that components are the last axis as in every other layer."""
    kernel = weight.T.reshape(-1, module.in_channels, *module.kernel_size)
    found = F.conv2d(x, kernel, None, module.stride, module.padding, module.dilation)
    return found.movedim(-3, -1)


def finish(module: nn.Conv2d, y: Tensor) -> Tensor:
    biased = y if module.bias is None else y + module.bias
    return biased.movedim(-1, -3)


def assign(module: nn.Conv2d, weight: Tensor) -> None:
    module.weight.data = weight.T.reshape(module.weight.shape).contiguous().to(module.weight.dtype)
