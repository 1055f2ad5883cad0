"""The contestants: those that look at the weights alone (singular vectors, neurons, a sparse dictionary, random directions),
and those that train (our shipped recipe, the original one, its successor's).
"""

from __future__ import annotations

import torch
from torch import Tensor

from digsite.decompose.core.starts import truncate_svd
from digsite.decompose.core.starts.known import rotate_to_sparse
from digsite.decompose.judge.contestants import Contestant, split_matrices, train_entry
from digsite.decompose.judge.exam import Entry
from digsite.decompose.subjects.compiled import CompiledProgram, writes_to_stream


class Singular(Contestant):
    """Singular vectors, as many as the exact rank: faithful, and the strongest rival in purity."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """As many singular directions as the program uses: told the rank, and nothing about data."""
        return split_matrices(program, lambda site, matrix: keep_strongest(matrix, program.rank(site)))


class SingularAll(Contestant):
    """Singular vectors, as many as the matrix has: equal in number to what a method without knowledge of the rank gets."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """All singular directions."""
        return split_matrices(program, lambda site, matrix: keep_strongest(matrix, min(matrix.shape)))


class Neurons(Contestant):
    """Neurons and the dimensions of heads as they stand: one part for each."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """The residual side of a matrix is rotated, so its other side is the one that has neurons."""

        def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
            if writes_to_stream(site):
                return torch.eye(len(matrix), dtype=matrix.dtype), matrix
            return matrix, torch.eye(matrix.shape[1], dtype=matrix.dtype)

        return split_matrices(program, split)


class Dictionary(Contestant):
    """A sparse dictionary on the weights: the basis of a matrix's row space in which what the parts write is sparsest.

    Complete dictionary learning over rotations (fourth moment), sparse on the side that is not rotated. A non-negative
    factorization is not entered: after a rotation of the residual stream no sign of a weight means anything.
    """

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """Sparse on the side of the stream, whose basis is the program's."""

        def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
            if writes_to_stream(site):
                u, v = split_sparsely(matrix.T)
                return v.T, u.T
            return split_sparsely(matrix)

        return split_matrices(program, split)


class Random(Contestant):
    """Random directions: a random orthogonal basis of what each matrix reads or writes, of its true rank. The null."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """The same sum in a random basis: what has to be beaten."""
        generator = torch.Generator().manual_seed(seed)

        def split(site: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
            left, values, right = truncate_svd(matrix)
            r = len(values)
            turn = torch.linalg.qr(torch.randn(r, r, generator=generator, dtype=torch.float64))[0]
            return left @ turn, turn.T @ (values[:, None] * right)

        return split_matrices(program, split)


def keep_strongest(matrix: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """V (d_in, n) and U (n, d_out): the n strongest singular parts of a matrix (d_in, d_out)."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left[:, :n], values[:n, None] * right[:n]


def split_sparsely(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """V (d_in, r) orthonormal and U (r, d_out) sparse, with V U = matrix."""
    left, values, right = truncate_svd(matrix)
    writes = values[:, None] * right
    turn = rotate_to_sparse(writes.T)
    return left @ turn, turn.T @ writes


PARTS = 2  # per unit of rank, for recipes that are told how many parts to make


class Shipped(Contestant):
    """What decompose(model) does without settings."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """Nothing is set that a user would not have by default."""
        return train_entry(program, seed, {"steps": steps} if steps else {})


class Spd(Contestant):
    """The original recipe (stochastic parameter decomposition, 2025), with twice as many parts as the rank, for 500 steps."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """Told the true rank times two, which a user would not know."""
        settings = {"C": count_parts(program), "steps": steps or 500, "compile": "never"}
        return train_entry(program, seed, settings, recipe="spd")


class Successor(Contestant):
    """The successor project's published toy recipe: its losses and gate, with twice as many parts as the rank.

    For 500 steps: it was published for 20,000 on toys, more than the exam's budget allows.
    """

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """As above, with the gate and losses of the successor."""
        gate = {"kind": "vector", "hidden": 16}
        settings = {"C": count_parts(program), "steps": steps or 500, "compile": "never", "gate": gate}
        return train_entry(program, seed, settings, recipe="successor")


def count_parts(program: CompiledProgram) -> dict[str, int]:
    """Parts by site: the true rank times PARTS, and two where the program does nothing."""
    return {site: max(PARTS * program.rank(site), 2) for site in program.sites}
