"""Irreducible representations of a finite group, from its multiplication table, and their share in a network."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Irreps:
    """Real isotypic subspaces of functions on a group: one orthogonal projector per real irreducible."""

    projectors: np.ndarray  # (irreps, n, n)
    dimensions: np.ndarray  # of the subspaces


def conjugacy_classes(table: np.ndarray) -> np.ndarray:
    """The number of each element's class, (n,)."""
    n = len(table)
    identity = int(np.flatnonzero((table == np.arange(n)).all(1))[0])
    inverse = np.argmax(table == identity, axis=1)
    label = np.full(n, -1)
    for x in range(n):
        if label[x] < 0:
            label[np.unique(table[table[:, x], inverse])] = label.max() + 1
    return label


def split_regular(table: np.ndarray, seed: int = 0) -> Irreps:
    """Split functions on the group into the joint eigenspaces of its class sums (a random mix separates them all).

    Left multiplication by a class sum commutes with both regular representations, so its eigenspaces are the isotypic
    ones. Adding classes to their inverses keeps everything symmetric and joins complex pairs, as real weights must.
    """
    n, label = len(table), conjugacy_classes(table)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=label.max() + 1)
    mix = np.zeros((n, n))
    for g in range(n):
        mix[table[g], np.arange(n)] += weights[label[g]]
    values, vectors = np.linalg.eigh((mix + mix.T) / 2)
    edges = np.flatnonzero(np.diff(values) > 1e-6 * np.abs(values).max()) + 1
    spaces = np.split(vectors, edges, axis=1)
    return Irreps(np.stack([v @ v.T for v in spaces]), np.array([v.shape[1] for v in spaces]))


def measure_shares(matrix: np.ndarray, irreps: Irreps) -> np.ndarray:
    """(irreps,): the part of the squared norm of (n, features) that lies in each subspace; they add to one."""
    total = (matrix**2).sum()
    if total == 0:
        return np.zeros(len(irreps.dimensions))
    return np.einsum("inm,mf,nf->i", irreps.projectors, matrix, matrix, optimize=True) / total


def centered_shares(matrix: np.ndarray, irreps: Irreps) -> np.ndarray:
    """Shares without the trivial representation: a common offset tells nothing about the group."""
    return measure_shares(matrix - matrix.mean(0), irreps)


def find_characters(irreps: Irreps, table: np.ndarray) -> np.ndarray:
    """(irreps, n): the function of each subspace at the identity's row, scaled to 1 at the identity."""
    n = len(table)
    identity = int(np.flatnonzero((table == np.arange(n)).all(1))[0])
    rows = irreps.projectors[:, identity, :]
    return rows / rows[:, identity, None]


def names_by_character(irreps: Irreps, table: np.ndarray, known: dict[str, np.ndarray]) -> list[str]:
    """The name of each subspace: the known character that its own agrees with, to 1e-6, or an assertion fails."""
    characters = find_characters(irreps, table)
    out = []
    for row in characters:
        gaps = {name: float(np.abs(row - c / c.max()).max()) for name, c in known.items()}
        best = min(gaps, key=lambda name: gaps[name])
        assert gaps[best] < 1e-6, f"no known character within 1e-6, the nearest is {best} at {gaps[best]}"
        out.append(best)
    return out


def symmetric_characters(permutations: np.ndarray) -> dict[str, np.ndarray]:
    """The seven characters of S5 from its permutations: products of fixed-point counts, 2-subsets and signs."""
    n, size = permutations.shape
    points = np.arange(size)
    fixed = (permutations == points).sum(1).astype(float)
    square = np.take_along_axis(permutations, permutations, 1)
    swapped = ((square == points) & (permutations != points)).sum(1) / 2
    sign = np.array([np.linalg.det(np.eye(size)[p]) for p in permutations]).round()
    pairs = fixed * (fixed - 1) / 2 + swapped
    standard, five = fixed - 1, pairs - fixed
    wedge = (standard**2 - (((square == points).sum(1)) - 1)) / 2
    return {
        "trivial": np.ones(n),
        "sign": sign,
        "standard": standard,
        "standard_sign": standard * sign,
        "s5_5d_a": five * sign,
        "s5_5d_b": five,
        "s5_6d": wedge,
    }


def cyclic_characters(n: int) -> dict[str, np.ndarray]:
    """Real characters of the cyclic group: one cosine per frequency."""
    x = np.arange(n)
    return {"trivial": np.ones(n)} | {
        f"freq_{k}": np.cos(2 * np.pi * k * x / n) for k in range(1, n // 2 + 1)
    }


def dihedral_characters(n: int) -> dict[str, np.ndarray]:
    """Of 2n elements r + n s: rotations carry a cosine, reflections nothing, and one sign tells them apart."""
    rotation = np.arange(n)
    out = {"trivial": np.ones(2 * n), "sign": np.concatenate([np.ones(n), -np.ones(n)])}
    for k in range(1, (n + 1) // 2):
        out[f"freq_{k}"] = np.concatenate([np.cos(2 * np.pi * k * rotation / n), np.zeros(n)])
    return out
