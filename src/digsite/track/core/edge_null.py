"""The null distribution of the edge test's largest z-score, by Monte Carlo on the same pipeline and tabulated."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.signal import lfilter

from digsite.track.core import noise, stepfit
from digsite.track.core.stepfit import Memory

TABLE = Path(__file__).with_name("edge_null.json")
SIZES = (24, 32, 50, 70, 100, 200, 400, 800, 2000)
FIRST_ROOTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.0)
SECOND_ROOTS = (0.0, 0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
FIRST_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
SECOND_BINS = (0.0, 0.15, 0.3, 0.5, 0.7, 0.9)
PROBS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
BURN_IN = 200
FEWEST = 60  # simulated series behind each stored row


def ar(memory: Memory, count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with these roots; unit variance when both are below one, else unit innovations."""
    first, second = memory
    shocks = rng.standard_normal((count, n + BURN_IN))
    rows = np.asarray(lfilter([1.0], [1.0, -second], shocks, axis=1)) * np.sqrt(1 - min(second, 0.9999) ** 2)
    rows = np.asarray(lfilter([1.0], [1.0, -first], rows, axis=1))[:, BURN_IN:]
    return rows if first == 1 else rows / _spread(memory)


def _spread(memory: Memory) -> float:
    """Standard deviation of the recursion driven by a unit-variance AR(1) of the second root."""
    a, b = memory
    return float(np.sqrt((1 + a * b) / ((1 - a * b) * (1 - a**2))))


def largest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest |z| and estimated memory (rows, 2) of each row."""
    rows = noise.cut_spikes(rows)
    memory = noise.memory(rows)
    top = np.empty(len(rows))
    for pair in np.unique(memory, axis=0):
        mine = (memory == pair).all(1)
        roots = (float(pair[0]), float(pair[1]))
        scale = noise.innovation_scale(stepfit.whiten(rows[mine], roots))
        top[mine] = np.abs(stepfit.z_scores(rows[mine], roots, scale)).max(axis=(1, 2))
    return top, memory


def simulate(n: int, count: int, rng: np.random.Generator) -> list[list[list[float]]]:
    """Quantiles of the largest |z| given the *estimated* memory: first root, second root, probability."""
    draws = [largest(ar((a, b), count, n, rng)) for a in FIRST_ROOTS for b in SECOND_ROOTS if b <= a]
    top, memory = (np.concatenate(part) for part in zip(*draws, strict=True))
    first = np.abs(memory[:, :1] - np.array(FIRST_BINS)).argmin(1)
    second = np.abs(memory[:, 1:] - np.array(SECOND_BINS)).argmin(1)
    table = np.full((len(FIRST_BINS), len(SECOND_BINS), len(PROBS)), np.nan)
    for i in range(len(FIRST_BINS)):
        for j in range(len(SECOND_BINS)):
            mine = top[(first == i) & (second == j)]
            if len(mine) >= FEWEST:
                table[i, j] = np.quantile(mine, PROBS)
    return np.round(_filled(table), 3).tolist()


def _filled(table: np.ndarray) -> np.ndarray:
    """Memories that hardly occur take the largest quantiles of their neighbors: the careful side."""
    table = table.copy()
    while np.isnan(table).any():
        padded = np.pad(table, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
        around = np.stack([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]])
        best = np.where(np.isnan(around), -np.inf, around).max(0)
        fill = np.isnan(table) & np.isfinite(best)
        table[fill] = best[fill]
    return table


def write_table(count: int = 250, seed: int = 0) -> None:
    """Regenerate the shipped table (a few CPU-minutes)."""
    rng = np.random.default_rng(seed)
    sizes = {str(n): simulate(n, count, rng) for n in SIZES}
    shape = {"probs": PROBS, "first_root": FIRST_BINS, "second_root": SECOND_BINS}
    TABLE.write_text(json.dumps({**shape, "quantiles": sizes}) + "\n")


@lru_cache(maxsize=1)
def _table() -> RegularGridInterpolator:
    stored = json.loads(TABLE.read_text())["quantiles"]
    sizes = sorted(stored, key=int)
    beyond: Any = None  # SciPy's word for going on linearly
    axes = (np.log([int(n) for n in sizes]), np.array(FIRST_BINS), np.array(SECOND_BINS))
    return RegularGridInterpolator(
        axes, np.array([stored[n] for n in sizes]), bounds_error=False, fill_value=beyond
    )


def quantiles(n: int, memory: Memory) -> np.ndarray:
    """Null quantiles at PROBS, linear in log n (continued beyond the table) and in both roots."""
    second = min(memory[1], SECOND_BINS[-1])
    return _table()(np.array([[np.log(n), memory[0], second]]))[0]


def p_value(z: float, n: int, memory: Memory) -> float:
    """Chance that a series without a jump has a larger |z| somewhere; the tail goes on exponentially."""
    at, tail = quantiles(n, memory), np.log1p(-np.array(PROBS))
    if z <= at[-1]:
        return float(np.exp(np.interp(z, at, tail, left=0.0)))
    slope = (tail[-1] - tail[3]) / (at[-1] - at[3])
    return float(np.exp(tail[-1] + slope * (min(z, 1e3) - at[-1])))
