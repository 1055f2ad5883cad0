"""Starts: those that look at nothing but the matrix or not even at that, and that of the shipped recipe.

The last one takes singular vectors, and uses the freedom that they leave well.
"""

from __future__ import annotations

from itertools import pairwise

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


SAME = 0.02  # singular values that differ by less than this share count as equal
ACTIVE = 0.05  # share of its largest activation above which a part counts as active
CLEARLY = 0.02  # parts per position by which a basis must be sparser than one before it
POSITIONS = 1500  # that are looked at
Basis = tuple[Tensor, Tensor]  # mixing (r, parts) of the left singular vectors, and what the parts write


class Sparse(Start):
    """Singular vectors, with the freedom that they leave used so that few parts are active at a time.

    Where singular values coincide, every rotation of their vectors is as good a decomposition, and the one that a library
    returns is an accident. And directions that always have the same activation (a constant) can be split off first, because
    they cannot be told from others by what they are worth. So a few bases that all add up exactly are compared by how many
    parts are active at a position, and the sparsest is taken. The rotation inside of a group is found by maximizing the
    fourth moment over rotations (Zhai, Yang, Liao, Wright, Ma, "Complete dictionary learning via l4-norm maximization over
    the orthogonal group", 2020).
    """

    ADDS_UP = True

    @staticmethod
    def make_parts(seen: Seen) -> tuple[Tensor, Tensor]:
        """Singular directions mixed so that their activations on data are as sparse as possible; their sum
        stays exact.
        """
        left, values, right = truncate_svd(seen.matrix)
        if len(values) == 0:
            return fill_up(left, values[:, None] * right, seen)
        acts = choose_positions(seen.read(left.to(seen.matrix.dtype)).double())
        mixing, writes = find_sparsest_basis(values[:, None] * right, acts, left)
        return fill_up(left @ mixing, writes, seen)


def find_sparsest_basis(matrix: Tensor, acts: Tensor, left: Tensor) -> Basis:
    """Mixing A (r, r) and writes B (r, d_out) with A B = matrix (r, d_out), few of acts @ A being active at a time.

    `acts` (positions, r) is what the left singular vectors `left` (d_in, r) read.
    """
    best: Basis | None = None
    least = float("inf")
    for basis in list_bases(matrix, acts, left):
        count = count_active(acts @ basis[0])
        if count < least - CLEARLY:
            best, least = basis, count
    assert best is not None
    return best


def count_active(acts: Tensor) -> float:
    """Parts per position whose activation (positions, parts) is more than a trace of their largest one."""
    sizes = acts.abs()
    return float((sizes > ACTIVE * sizes.amax(0).clamp_min(1e-12)).double().mean(0).sum())


def rotate_to_sparse(values: Tensor, turns: int = 200, tries: int = 3) -> Tensor:
    """The rotation Q (r, r) for which values @ Q (n, r) has the largest fourth moment: matching, stretching, projection."""
    generator = torch.Generator().manual_seed(0)
    r = values.shape[1]
    best, most = torch.eye(r, dtype=values.dtype), -1.0
    for attempt in range(tries):
        q = torch.eye(r, dtype=values.dtype)
        if attempt:
            q = torch.linalg.qr(torch.randn(r, r, generator=generator, dtype=values.dtype))[0]
        moment = -1.0
        for _ in range(turns):
            u, _, v = torch.linalg.svd(values.T @ (values @ q) ** 3)
            q = u @ v
            before, moment = moment, float(((values @ q) ** 4).sum())
            if moment - before < 1e-9 * abs(moment):
                break
        if moment > most * (1 + 1e-6):
            best, most = q, moment
    return best


def choose_positions(acts: Tensor) -> Tensor:
    """A fixed sample of positions: more do not change the basis."""
    generator = torch.Generator().manual_seed(0)
    return acts[torch.randperm(len(acts), generator=generator)[:POSITIONS]]


def list_bases(matrix: Tensor, acts: Tensor, left: Tensor) -> list[Basis]:
    """What is split by constancy comes first, then plain singular vectors: a tie goes to the earlier."""
    whole = torch.eye(len(matrix), dtype=matrix.dtype)
    constant, varying = split_constant(acts)
    bases = []
    if constant.shape[1] and varying.shape[1]:
        halves = [turn_groups(matrix, basis, "acts", acts, left) for basis in (constant, varying)]
        bases.append((torch.cat([a for a, _ in halves], 1), torch.cat([b for _, b in halves])))
    ways = ("", "acts", "reads", "writes")
    return bases + [turn_groups(matrix, whole, way, acts, left) for way in ways]


def turn_groups(matrix: Tensor, basis: Tensor, by: str, acts: Tensor, left: Tensor) -> Basis:
    """Singular vectors inside of a subspace (r, k), turned within groups of equal values by what is to be sparse."""
    mixed, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    mixing = basis @ mixed
    for low, high in find_groups(values) if by else ():
        rotated = slice(low, high)
        looked_at = {
            "acts": acts @ mixing[:, rotated],
            "reads": left @ mixing[:, rotated],
            "writes": right[rotated].T,
        }
        q = rotate_to_sparse(looked_at[by])
        mixing = torch.cat([mixing[:, :low], mixing[:, rotated] @ q, mixing[:, high:]], 1)
        right = torch.cat([right[:low], q.T @ right[rotated], right[high:]])
    # From the matrix and not from the values: in a group they are only nearly equal.
    return mixing, mixing.T @ matrix


def find_groups(values: Tensor) -> list[tuple[int, int]]:
    """Runs of at least two singular values that count as equal."""
    cuts = [i for i in range(1, len(values)) if values[i] < values[i - 1] * (1 - SAME)]
    ends = [0, *cuts, len(values)]
    return [(a, b) for a, b in pairwise(ends) if b - a > 1]


def split_constant(acts: Tensor) -> tuple[Tensor, Tensor]:
    """Bases (r, k) and (r, r - k) of the directions whose activation never changes, and of the others."""
    spread = acts - acts.mean(0)
    values, vectors = torch.linalg.eigh(spread.T @ spread)
    still = int((values < 1e-6 * values.max().clamp_min(1e-30)).sum())
    return vectors[:, :still], vectors[:, still:]
