"""The null distribution of the edge test's largest z-score, by Monte Carlo on the same pipeline and tabulated."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from digsite.track import noise, stepfit

TABLE = Path(__file__).with_name("edge_null.json")
SIZES = (24, 32, 50, 70, 100, 200, 400, 800, 2000)
TRUE_PHI = (*(k / 20 for k in range(20)), 0.975, 0.99, 1.0, 1.0)
BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
PROBS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
BURN_IN = 200


def ar1(phi: float, count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Unit-variance AR(1) noise; for phi = 1 a random walk with unit steps."""
    shocks = rng.standard_normal((count, n + BURN_IN))
    if phi == 1:
        return np.cumsum(shocks, axis=1)[:, BURN_IN:]
    return np.asarray(lfilter([1.0], [1.0, -phi], shocks, axis=1))[:, BURN_IN:] * np.sqrt(1 - phi**2)


def largest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest |z| and estimated memory of each row."""
    rows = noise.cut_spikes(rows)
    phi = noise.memory(rows)
    top = np.empty(len(rows))
    for value in np.unique(phi):
        mine = phi == value
        scale = noise.innovation_scale(stepfit.whiten(rows[mine], value))
        top[mine] = np.abs(stepfit.z_scores(rows[mine], value, scale)).max(axis=(1, 2))
    return top, phi


def simulate(n: int, count: int, rng: np.random.Generator) -> list[list[float]]:
    """Quantiles of the largest |z| given the *estimated* memory: one row per bin."""
    draws = [largest(ar1(phi, count, n, rng)) for phi in TRUE_PHI]
    top, phi = (np.concatenate(part) for part in zip(*draws, strict=True))
    nearest = np.abs(phi[:, None] - np.array(BINS)).argmin(1)
    rows = []
    for b in range(len(BINS)):
        mine = top[nearest == b]
        assert len(mine) > 100, f"too few draws with memory {BINS[b]} at n = {n}"
        rows.append([round(float(q), 3) for q in np.quantile(mine, PROBS)])
    return rows


def write_table(count: int = 1500, seed: int = 0) -> None:
    """Regenerate the shipped table (about ten CPU-minutes)."""
    rng = np.random.default_rng(seed)
    sizes = {str(n): simulate(n, count, rng) for n in SIZES}
    TABLE.write_text(json.dumps({"probs": PROBS, "memory": BINS, "quantiles": sizes}, indent=1) + "\n")


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    stored = json.loads(TABLE.read_text())["quantiles"]
    sizes = sorted(stored, key=int)
    return np.log([int(n) for n in sizes]), np.array([stored[n] for n in sizes])


def quantiles(n: int, phi: float) -> np.ndarray:
    """Null quantiles at PROBS, linear in log n (continued beyond the table) and in the memory."""
    log_sizes, stored = _table()
    at_phi = np.stack([[np.interp(phi, BINS, size[:, k]) for k in range(len(PROBS))] for size in stored])
    right = int(np.clip(np.searchsorted(log_sizes, np.log(n)), 1, len(log_sizes) - 1))
    weight = (np.log(n) - log_sizes[right - 1]) / (log_sizes[right] - log_sizes[right - 1])
    return at_phi[right - 1] + weight * (at_phi[right] - at_phi[right - 1])


def p_value(z: float, n: int, phi: float) -> float:
    """Chance that a series without a jump has a larger |z| somewhere; the tail goes on exponentially."""
    z = min(z, 1e3)
    at, tail = quantiles(n, phi), np.log1p(-np.array(PROBS))
    if z <= at[-1]:
        return float(np.exp(np.interp(z, at, tail, left=0.0)))
    slope = (tail[-1] - tail[3]) / (at[-1] - at[3])
    return float(np.exp(tail[-1] + slope * (z - at[-1])))
