"""Sparse autoencoders: a class per kind, found by its base, written for K stacked members at once."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SaeKind(ABC):
    """One kind. Parameters are stacked over members by name; inputs are (K, n, d), codes (K, n, m).

    `knob` (K,) is each member's sparsity: a penalty, or how many codes stay on, as `KNOB` says. What the codes should
    rebuild is `wanted` (K, n, d_out): the input itself in an autoencoder, what a map made of it in a transcoder. In a
    crosscoder the input is the activations of several models side by side.
    """

    KNOB: ClassVar[str] = "penalty on the mean code"
    COUNTS: ClassVar[bool] = False  # whether the knob counts open codes
    STREAMS: ClassVar[int] = 1  # models whose activations lie side by side in the input, at the least
    SAELENS: ClassVar[str] = (
        ""  # its architecture in SAELens's layout, empty where that layout cannot hold it
    )
    SPARSIFY: ClassVar[bool] = (
        False  # whether the sparsify layout, which knows only open codes per input, can hold it
    )

    @staticmethod
    @abstractmethod
    def draw_parameters(
        d: int, width: int, draw: "torch.Generator", d_out: int | None = None
    ) -> "dict[str, Tensor]":
        """Tensors of one member by name, for inputs of `d` dimensions, `width` codes and, in a transcoder, `d_out` outputs."""

    @staticmethod
    @abstractmethod
    def encode_stacked(p: "dict[str, Tensor]", x: "Tensor", knob: "Tensor") -> "Tensor":
        """Codes of the inputs."""

    @staticmethod
    @abstractmethod
    def decode_stacked(p: "dict[str, Tensor]", z: "Tensor") -> "Tensor":
        """What is rebuilt from codes."""

    @staticmethod
    @abstractmethod
    def measure_loss(p: "dict[str, Tensor]", x: "Tensor", knob: "Tensor", wanted: "Tensor") -> "Tensor":
        """One number per member, (K,)."""


Member = SaeKind
