"""Values that move by whole steps: ranks, counts, accuracies of few images, half precision, and values that are held.

A smooth course, rounded, is a staircase, and each of its stairs is a perfect jump. So a series on a lattice is tested as
one: a change counts by what it has beyond one step of the lattice, which rounding alone can give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BITS = (8, 11)  # significant binary digits of bfloat16 and float16
HELD_SHARE = 0.2


@dataclass(frozen=True)
class Lattice:
    """`quantum` (n,): the step of the lattice at each sample, zero where values are continuous.

    `held`: share of samples that repeat the one before although many different values occur; `period`: of what length,
    when (nearly) all values are held equally long, else 0.
    """

    quantum: np.ndarray
    held: float
    period: int


def find_lattice(values: np.ndarray) -> Lattice:
    """What steps `values` (n,) move by."""
    levels = np.unique(values)
    same = np.diff(values) == 0
    quantum = common_step(levels)
    if quantum > 0:
        return Lattice(np.full(len(values), quantum), 0.0, 0)
    steps = precision_step(values)
    share = float(same.mean())
    if steps.any() or share < HELD_SHARE:
        return Lattice(steps, 0.0, 0)
    lengths = np.diff(np.r_[0, np.flatnonzero(~same) + 1])
    usual = int(np.median(lengths)) if len(lengths) else 0
    regular = len(lengths) > 0 and float(np.mean(lengths == usual)) >= 0.95
    return Lattice(steps, share, usual if regular else 0)


def common_step(levels: np.ndarray) -> float:
    """The smallest gap of sorted levels when all other gaps are whole multiples of it, else 0.

    Two or three levels always are; a lattice is then still the right reading, as such a series has no other scale.
    """
    if len(levels) < 2:
        return 0.0
    gaps = np.diff(levels)
    least = float(gaps.min())
    # Decimal fractions are rounded in binary: 0.07 - 0.06 differs from 0.01 in the last digits.
    if least < 1e-9 * float(np.abs(levels).max()):
        return 0.0
    ratio = gaps / least
    return least if bool((np.abs(ratio - np.round(ratio)) < 1e-3 * np.maximum(ratio, 1)).all()) else 0.0


def precision_step(values: np.ndarray) -> np.ndarray:
    """(n,) spacing of the low-precision floating-point format that holds all values exactly, else zeros."""
    fraction, exponent = np.frexp(values)
    for bits in BITS:
        scaled = fraction * 2.0**bits
        if bool((scaled == np.round(scaled)).all()):
            return np.ldexp(1.0, exponent - bits)
    return np.zeros(len(values))


def spread_over_cells(values: np.ndarray, quantum: np.ndarray) -> np.ndarray:
    """Values spread evenly over their cells of the lattice, by a fixed draw: ties without a choice."""
    return values + (np.random.default_rng(len(values)).random(len(values)) - 0.5) * quantum


def drop_repeats(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the samples at which a new value came, and the values there."""
    kept = np.r_[0, np.flatnonzero(np.diff(values) != 0) + 1]
    return kept, values[kept]
