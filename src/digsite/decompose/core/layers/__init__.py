"""Layers that can be decomposed: each is one matrix (d_in, d_out) read at positions; a class per kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from digsite.base.families import scan_family

PACKAGE = "digsite.decompose.core.layers"


class Layer(ABC):
    """One kind of layer, as functions of a module of that kind; no object is ever made of it."""

    READS_VECTORS: bool = True
    """Reads one vector (d_in,) at each position, so that a gate can read it too and an identity can stand before it."""

    @staticmethod
    @abstractmethod
    def matches_module(module: nn.Module) -> bool:
        """Whether the module is of this kind, in a variant that can be decomposed."""

    @staticmethod
    @abstractmethod
    def get_matrix(module: Any) -> Tensor:
        """(d_in, d_out)"""

    @staticmethod
    @abstractmethod
    def read_inner(module: Any, x: Any, weight: Tensor) -> Tensor:
        """(..., C): what `weight` (d_in, C) reads at each position of an input; the layer itself with its own matrix."""

    @staticmethod
    @abstractmethod
    def finish_output(module: Any, y: Tensor) -> Tensor:
        """The module's output from what its matrix gave (..., d_out): the bias, and the axes where they belong."""

    @staticmethod
    @abstractmethod
    def write_matrix(module: Any, weight: Tensor) -> None:
        """Put another matrix (d_in, d_out) into the module, in place."""


Member = Layer


def find_layer(module: nn.Module) -> type[Layer] | None:
    """The kind that handles `module`, or none where it is not supported."""
    return next((layer for layer in scan_family(PACKAGE).values() if layer.matches_module(module)), None)
