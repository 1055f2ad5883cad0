"""Random directions: a random orthogonal basis of what each matrix reads or writes, of its true rank."""

import torch
from torch import Tensor

from digsite.decompose.core.starts.singular import truncated_svd
from digsite.decompose.judge.contestants import split_matrices
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "random directions inside of the true row space: the null"


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """Drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)

    def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
        left, values, right = truncated_svd(matrix)
        r = len(values)
        turn = torch.linalg.qr(torch.randn(r, r, generator=generator, dtype=torch.float64))[0]
        return left @ turn, turn.T @ (values[:, None] * right)

    return split_matrices(program, split)
