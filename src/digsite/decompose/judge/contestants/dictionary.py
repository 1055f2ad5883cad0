"""A sparse dictionary on the weights: the basis of a matrix's row space in which what the parts write is sparsest.

Complete dictionary learning over rotations (fourth moment). A non-negative factorization is not entered: after a
rotation of the residual stream no sign of a weight means anything.
"""

from torch import Tensor

from digsite.decompose.core.starts.singular import truncated_svd
from digsite.decompose.core.starts.sparse import rotate_to_sparse
from digsite.decompose.judge.contestants import split_matrices
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.judge.exam.parts import writes_to_stream
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "a sparse dictionary on the weights, of the true rank"


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """Sparse on the side that is not rotated."""

    def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
        if writes_to_stream(site):
            u, v = split_reads(matrix.T)
            return v.T, u.T
        return split_reads(matrix)

    return split_matrices(program, split)


def split_reads(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """V (d_in, r) orthonormal and U (r, d_out) sparse, with V U = matrix."""
    left, values, right = truncated_svd(matrix)
    writes = values[:, None] * right
    turn = rotate_to_sparse(writes.T)
    return left @ turn, turn.T @ writes
