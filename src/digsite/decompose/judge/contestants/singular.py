"""Singular vectors, as many as the exact rank: faithful, and the strongest rival in purity."""

import torch
from torch import Tensor

from digsite.decompose.judge.contestants import split_matrices
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "singular vectors of the true rank"


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """Nothing is drawn and nothing trained."""

    def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
        return truncate(matrix, program.rank(site))

    return split_matrices(program, split)


def truncate(matrix: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The n strongest singular parts of a matrix (d_in, d_out)."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left[:, :n], values[:n, None] * right[:n]
