"""Singular vectors, as many as the matrix has: equal in number to what a method without knowledge of the rank gets."""

from torch import Tensor

from digsite.decompose.judge.contestants import split_matrices
from digsite.decompose.judge.contestants.singular import truncate
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "all singular vectors, the zero ones too"


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """Nothing is drawn and nothing trained."""

    def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
        return truncate(matrix, min(matrix.shape))

    return split_matrices(program, split)
