"""Starts that look at nothing but the matrix, or not even at that."""

import torch
from torch import Tensor

from digsite.decompose.core.starts import Seen, Start, fill_up, truncate_svd


class Fan(Start):
    """Random numbers with standard deviations 1/sqrt(d_in) and 1/sqrt(C), as the original code has it."""

    @staticmethod
    def make_parts(seen: Seen) -> tuple[Tensor, Tensor]:
        """Random factors of the usual fan-in scale."""
        d_in, d_out = seen.matrix.shape
        v, u = seen.draw("V", d_in, seen.n), seen.draw("U", seen.n, d_out)
        return v / d_in**0.5, u / seen.n**0.5


class Overlap(Start):
    """Random unit directions, each part scaled by its overlap with the matrix."""

    @staticmethod
    def make_parts(seen: Seen) -> tuple[Tensor, Tensor]:
        """Random directions, each as long as the matrix is there: V_c^T W U_c."""
        d_in, d_out = seen.matrix.shape
        v, u = seen.draw("V", d_in, seen.n), seen.draw("U", seen.n, d_out)
        v, u = v / v.norm(dim=0), u / u.norm(dim=1, keepdim=True)
        return v, u * torch.einsum("ic,io,co->c", v, seen.matrix, u)[:, None]


class Singular(Start):
    """Singular vectors: the parts add up to the matrix from the first step on, with the fewest that can."""

    ADDS_UP = True

    @staticmethod
    def make_parts(seen: Seen) -> tuple[Tensor, Tensor]:
        """As many singular directions as there are, the rest small."""
        left, values, right = truncate_svd(seen.matrix)
        return fill_up(left, values[:, None] * right, seen)


class Neurons(Start):
    """Along the nonlinearity: one part for each output of the matrix where it is the smaller side, else for each input.

    A matrix that feeds neurons is split by neuron (each part writes to one), a matrix that reads them likewise. Where
    there are more neurons than parts, the strongest are kept.
    """

    ADDS_UP = True

    @staticmethod
    def make_parts(seen: Seen) -> tuple[Tensor, Tensor]:
        """One part for each column or row, whichever are fewer: an exact sum from the start."""
        w = seen.matrix.double()
        d_in, d_out = w.shape
        if d_out <= d_in:
            v, u = w, torch.eye(d_out, dtype=w.dtype)
        else:
            v, u = torch.eye(d_in, dtype=w.dtype), w
        kept = (v.norm(dim=0) > 0) & (u.norm(dim=1) > 0)
        return fill_up(v[:, kept], u[kept], seen)
