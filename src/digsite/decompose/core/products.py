"""Sums of low-rank products kept as factors, so that a wide residual stream is never written out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Products:
    """The matrix sum of left @ right, which is only ever multiplied by another matrix from the right."""

    terms: tuple[tuple[Tensor, Tensor], ...]

    def __add__(self, other: Products) -> Products:
        return Products(self.terms + other.terms)

    def __mul__(self, rows: Tensor) -> Products:
        """Scale each row: `rows` is (..., 1)."""
        return Products(tuple((left * rows, right) for left, right in self.terms))

    def __matmul__(self, weight: Tensor) -> Tensor:
        first, *rest = ((left @ (right @ weight)) for left, right in self.terms)
        return sum(rest, first)

    def dense(self) -> Tensor:
        first, *rest = (left @ right for left, right in self.terms)
        return sum(rest, first)
