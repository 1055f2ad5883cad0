"""The kinds that are supported: dense layers, GPT-2's dense layers, embeddings and convolutions.

Every kind is seen as a matrix (d_in, d_out) that is multiplied from the right, x W: parts are then the same
thing for all.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from digsite.decompose.core.layers import Layer


class Linear(Layer):
    """Dense layers: y = x W^T + b."""

    @staticmethod
    def matches_module(module: nn.Module) -> bool:
        """Subclasses too: they multiply as their base does."""
        return isinstance(module, nn.Linear)

    @staticmethod
    def get_matrix(module: nn.Linear) -> Tensor:
        """(d_in, d_out): torch stores it the other way round."""
        return module.weight.T

    @staticmethod
    def read_inner(module: nn.Module, x: Any, weight: Tensor) -> Tensor:
        """What parts see: x V is read by giving V as the weight; a deferred input multiplies as products do."""
        return x @ weight

    @staticmethod
    def finish_output(module: nn.Linear, y: Any) -> Any:
        """The bias, which no part owns."""
        return y if module.bias is None else y + module.bias

    @staticmethod
    def write_matrix(module: nn.Linear, weight: Tensor) -> None:
        """In the module's own precision."""
        module.weight.data = weight.T.contiguous().to(module.weight.dtype)


class Conv1d(Linear):
    """GPT-2's dense layers, which keep their weight as (d_in, d_out): y = x W + b."""

    @staticmethod
    def matches_module(module: nn.Module) -> bool:
        """GPT-2's layer of transformers."""
        # By name: the class lives in an optional dependency, and look-alikes are common.
        weight = getattr(module, "weight", None)
        return type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.ndim == 2

    @staticmethod
    def get_matrix(module: nn.Module) -> Tensor:
        """(d_in, d_out) already."""
        return module.weight  # type: ignore[return-value]

    @staticmethod
    def finish_output(module: nn.Module, y: Tensor) -> Tensor:
        """The bias, which no part owns."""
        bias = getattr(module, "bias", None)
        return y if bias is None else y + bias

    @staticmethod
    def write_matrix(module: nn.Module, weight: Tensor) -> None:
        """In the module's own precision."""
        module.weight.data = weight.contiguous().to(module.weight.dtype)  # type: ignore[union-attr]


class Embedding(Layer):
    """Embeddings: a row of the matrix per token, looked up without one-hot vectors."""

    READS_VECTORS = False

    @staticmethod
    def matches_module(module: nn.Module) -> bool:
        """A table of vectors is a matrix on one-hot inputs."""
        return isinstance(module, nn.Embedding)

    @staticmethod
    def get_matrix(module: nn.Embedding) -> Tensor:
        """(tokens, width)."""
        return module.weight

    @staticmethod
    def read_inner(module: nn.Embedding, x: Tensor, weight: Tensor) -> Tensor:
        """Looked up and not multiplied: the same numbers, without the one-hot rows."""
        return F.embedding(x, weight)

    @staticmethod
    def finish_output(module: nn.Embedding, y: Tensor) -> Tensor:
        """There is no bias."""
        return y

    @staticmethod
    def write_matrix(module: nn.Embedding, weight: Tensor) -> None:
        """In the module's own precision."""
        module.weight.data = weight.contiguous().to(module.weight.dtype)


class Conv2d(Layer):
    """Convolutions: the matrix maps a patch (channels x height x width) to output channels; a position is a pixel."""

    READS_VECTORS = False

    @staticmethod
    def matches_module(module: nn.Module) -> bool:
        """Without groups, whose matrix would be mostly zeros, and with zeros outside of the image."""
        return isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros"

    @staticmethod
    def get_matrix(module: nn.Conv2d) -> Tensor:
        """(in * height * width, out): a convolution is a dense map of every patch."""
        return module.weight.flatten(1).T

    @staticmethod
    def read_inner(module: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
        """Channels last, so that components are the last axis as in every other layer."""
        kernel = weight.T.reshape(-1, module.in_channels, *module.kernel_size)
        return F.conv2d(x, kernel, None, module.stride, module.padding, module.dilation).movedim(-3, -1)

    @staticmethod
    def finish_output(module: nn.Conv2d, y: Tensor) -> Tensor:
        """Channels back in front of the places."""
        biased = y if module.bias is None else y + module.bias
        return biased.movedim(-1, -3)

    @staticmethod
    def write_matrix(module: nn.Conv2d, weight: Tensor) -> None:
        """Back to (out, in, height, width)."""
        module.weight.data = weight.T.reshape(module.weight.shape).contiguous().to(module.weight.dtype)
