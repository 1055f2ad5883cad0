"""Neurons and the dimensions of heads as they stand: one part for each."""

import torch
from torch import Tensor

from digsite.decompose.judge.contestants import split_matrices
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.judge.exam.parts import writes_to_stream
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "neurons and head dimensions as they stand"


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """The residual side of a matrix is rotated, so its other side is the one that has neurons."""

    def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
        if writes_to_stream(site):
            return torch.eye(len(matrix), dtype=matrix.dtype), matrix
        return matrix, torch.eye(matrix.shape[1], dtype=matrix.dtype)

    return split_matrices(program, split)
