"""Series without jumps and with planted ones: how often a detector finds jumps in series that hold none, how many planted ones it finds, and a rival to compare with.

The rival is the self-normalized CUSUM for one change of the mean (Shao and Zhang 2010): the CUSUM at each place is divided by
the cumulative deviations on either side of it, so that the long-run variance cancels and no noise model is needed. Its null
(a Brownian one) holds for stationary short memory and not for trends or walks.

Of the series without jumps, `draw_build_families` are those the jump test was built on. `draw_judge_families` were drawn when
its first form was finished, and what they showed (skewed shocks) has been mended since, so they are seen now; `draw_kept_families`
were drawn when its second form was finished, `draw_fresh_families` when changes by likelihood had joined it. The table of corrections is that of PROCESSES among the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import lfilter

from digsite.track.core.jumps import Change

Rng = np.random.Generator
BURN_IN = 300


def draw_process(root: float, count: int, n: int, rng: Rng) -> np.ndarray:
    """(count, n) autoregression of order one with unit variance; a random walk with unit steps for root 1."""
    shocks = rng.standard_normal((count, n + BURN_IN))
    if root == 1:
        return np.cumsum(shocks, axis=1)[:, BURN_IN:]
    return np.asarray(lfilter([1.0], [1.0, -root], shocks, axis=1))[:, BURN_IN:] * np.sqrt(1 - root**2)


def draw_two_root_process(roots: tuple[float, float], count: int, n: int, rng: Rng) -> np.ndarray:
    """(count, n) autoregression with these two real roots; unit variance when both are below one, else unit innovations.

    A first root of one is a walk whose increments have the memory of the second: a finely sampled training curve.
    """
    first, second = roots
    shocks = rng.standard_normal((count, n + BURN_IN))
    rows = np.asarray(lfilter([1.0], [1.0, -second], shocks, axis=1)) * np.sqrt(1 - min(second, 0.9999) ** 2)
    rows = np.asarray(lfilter([1.0], [1.0, -first], rows, axis=1))[:, BURN_IN:]
    if first == 1:
        return rows
    # Standard deviation of the recursion of the first root when a unit-variance process of the second drives it.
    return rows / np.sqrt((1 + first * second) / ((1 - first * second) * (1 - first**2)))


def draw_long_memory(hurst: float, count: int, n: int, rng: Rng) -> np.ndarray:
    """(count, n) fractional Gaussian noise by circulant embedding."""
    k = np.arange(n + 1.0)
    covariance = 0.5 * ((k + 1) ** (2 * hurst) - 2 * k ** (2 * hurst) + np.abs(k - 1) ** (2 * hurst))
    row = np.r_[covariance, covariance[-2:0:-1]]
    power = np.maximum(np.fft.fft(row).real, 0)
    z = rng.standard_normal((count, len(row))) + 1j * rng.standard_normal((count, len(row)))
    return np.fft.fft(np.sqrt(power / len(row)) * z, axis=1).real[:, :n]


def draw_smooth(length: float, count: int, n: int, rng: Rng) -> np.ndarray:
    """(count, n) Gaussian process with squared-exponential covariance of this length."""
    reach = int(4 * length)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / length**2)
    kernel /= np.sqrt((kernel**2).sum())
    return np.stack([np.convolve(r, kernel, "valid") for r in rng.standard_normal((count, n + 2 * reach))])


def draw_clustered(count: int, n: int, rng: Rng) -> np.ndarray:
    """(count, n) noise whose variance follows its own past (GARCH)."""
    shocks = rng.standard_normal((count, n + BURN_IN))
    variance, out = np.ones(count), np.empty_like(shocks)
    for t in range(n + BURN_IN):
        out[:, t] = np.sqrt(variance) * shocks[:, t]
        variance = 0.01 + 0.15 * out[:, t] ** 2 + 0.84 * variance
    return out[:, BURN_IN:]


def draw_build_families(n: int, count: int, rng: Rng) -> dict[str, np.ndarray]:
    """The families that were looked at while the test was made: (count, n) each."""
    t = np.arange(n)
    white = lambda: rng.standard_normal((count, n))  # noqa: E731
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    slow = np.exp(-1 / 20)
    heavy = rng.standard_t(3, (count, n + BURN_IN))
    burst = white()
    burst[:, n // 3 : n // 3 + n // 5] *= 6
    return {
        "white": white(),
        "slow process": draw_process(slow, count, n, rng),
        "AR .8": draw_process(0.8, count, n, rng),
        "drifting walk": draw_process(1, count, n, rng) + 0.3 * t,
        "decay": 10 * np.exp(-t / 40) + white(),
        "cosine": 10 * np.cos(np.pi * t / n) + white(),
        "log growth": 4 * np.log1p(t) + white(),
        "EMA of a decay": np.asarray(lfilter([0.1], [1, -0.9], 10 * np.exp(-t / 40) + 3 * white(), axis=1)),
        "accuracy of 100": rng.binomial(100, 0.95 - 0.85 * np.exp(-t / 60), (count, n)) / 100,
        "slow process + noise": draw_process(slow, count, n, rng) + 0.3 * white(),
        "walk + noise": 0.3 * draw_process(1, count, n, rng) + white(),
        "long memory .75": draw_long_memory(0.75, count, n, rng),
        "long memory .95": draw_long_memory(0.95, count, n, rng),
        "ranks on a decay": np.round(40 * np.exp(-t / 80) + 20 + 0.4 * white()),
        "quantized, 3 sd": 3 * np.round(white() / 3),
        "quantized slow ramp": np.round(0.05 * t + 0.1 * white()),
        "period 50": 3 * np.sin(2 * np.pi * t / 50 + phase) + 0.3 * white(),
        "triangle 60": 3 * np.abs(((t / 60 + phase / 6) % 1) * 4 - 2) + 0.01 * white(),
        "smooth, length 5": draw_smooth(5, count, n, rng),
        "smooth, length 20": draw_smooth(20, count, n, rng),
        "drift in float16": (1 + 2e-4 * draw_process(1, count, n, rng)).astype(np.float16).astype(float),
        "t3 tails": rng.standard_t(3, (count, n)),
        "noise falling 4 to 1": white() * np.linspace(4, 1, n),
        "power law": 20 / np.sqrt(1 + t) + white(),
        "sigmoid of 60": 10 / (1 + np.exp(-(t - n / 2) / (60 / np.log(81)))) + white(),
        "AR .8 with t3 shocks": np.asarray(lfilter([1], [1, -0.8], heavy, axis=1))[:, BURN_IN:],
        "walk with t3 steps": np.cumsum(heavy, axis=1)[:, BURN_IN:],
        "walk with t3 steps + noise": np.cumsum(heavy, axis=1)[:, BURN_IN:] + 1.5 * white(),
        "clustered variance": draw_clustered(count, n, rng),
        "burst of 6 times the noise": burst,
        "held for 5 samples": np.repeat(draw_process(0.8, count, n // 5 + 1, rng), 5, axis=1)[:, :n],
        "best so far": np.minimum.accumulate(4 * np.exp(-t / 80) + 0.3 * white(), axis=1),
        "lognormal": np.exp(0.8 * draw_process(0.9, count, n, rng)),
    }


PROCESSES = (
    "slow process",
    "AR .8",
    "slow process + noise",
    "walk + noise",
    "drifting walk",
    "long memory .75",
    "long memory .95",
)


def draw_judge_families(n: int, count: int, rng: Rng) -> dict[str, np.ndarray]:
    """The families that were written down when the test was finished: (count, n) each."""
    t = np.arange(n)
    white = lambda: rng.standard_normal((count, n))  # noqa: E731
    ring = np.asarray(lfilter([1], [1, -1.6, 0.8], rng.standard_normal((count, n + BURN_IN)), axis=1))
    chaos = np.empty((count, n))
    state = rng.uniform(0.1, 0.9, count)
    for i in range(n):
        state = 3.8 * state * (1 - state)
        chaos[:, i] = state
    gain = 1 - 0.9 * np.exp(-t / (n / 6))
    trend = 5 * np.sqrt(t / n)
    return {
        "anti-persistent, root -.6": draw_process(-0.6, count, n, rng),
        "process of memory 60 + noise": draw_process(np.exp(-1 / 60), count, n, rng) + 0.5 * white(),
        "two processes, memory 5 and 50": draw_process(np.exp(-1 / 5), count, n, rng)
        + 2 * draw_process(np.exp(-1 / 50), count, n, rng),
        "walk + Laplace noise": 0.2 * draw_process(1, count, n, rng) + rng.laplace(size=(count, n)),
        "ringing, period 23": ring[:, BURN_IN:],
        "long memory .35": draw_long_memory(0.35, count, n, rng),
        "fractional motion .3": np.cumsum(draw_long_memory(0.3, count, n, rng), axis=1),
        "smooth, length 10, + noise": draw_smooth(10, count, n, rng) + 0.2 * white(),
        "root growth + AR .6": trend + 0.4 * draw_process(0.6, count, n, rng),
        "stretched decay, relative noise": 5 * np.exp(-np.sqrt(t / 10)) * np.exp(0.05 * white()),
        "loss curve, noise with level": (0.2 + 2 / (1 + t / 20)) * (1 + 0.04 * white()),
        "accuracy of 500, saturating": rng.binomial(500, np.clip(gain, 0, 1), (count, n)) / 500,
        "counts, Poisson of a slow rate": rng.poisson(np.exp(2 + 0.4 * draw_process(0.97, count, n, rng))),
        "bfloat-like, 8 bits": keep_bits(2 + 0.02 * draw_process(0.97, count, n, rng), 8),
        "two tones": np.sin(2 * np.pi * t / 37 + rng.uniform(0, 6, (count, 1)))
        + 0.7 * np.sin(2 * np.pi * t / 11 + rng.uniform(0, 6, (count, 1)))
        + 0.2 * white(),
        "sawtooth smoothed": np.asarray(lfilter([0.2], [1, -0.8], (t / 45) % 1 + 0.05 * white(), axis=1)),
        "running mean of 15": np.stack([np.convolve(r, np.ones(15) / 15, "same") for r in white()]),
        "logistic map": chaos,
        "skewed shocks": np.asarray(lfilter([1], [1, -0.7], rng.gamma(1.0, size=(count, n)) - 1, axis=1)),
        "noise rising 1 to 5, walk": np.cumsum(white() * np.linspace(1, 5, n), axis=1),
    }


def draw_kept_families(n: int, count: int, rng: Rng) -> dict[str, np.ndarray]:
    """The families that were written down when the test had its present form: (count, n) each."""
    t = np.arange(n)
    white = lambda: rng.standard_normal((count, n))  # noqa: E731
    long = lambda: rng.standard_normal((count, n + BURN_IN))  # noqa: E731
    walk = np.cumsum(long(), axis=1)
    loud = np.where(np.cumsum(rng.random((count, n)) < 4 / n, axis=1) % 2 == 0, 1.0, 2.5)
    seasonal = np.asarray(lfilter([1], np.r_[1, np.zeros(11), -0.8], long(), axis=1))[:, BURN_IN:]
    mixed = np.asarray(lfilter([1, -0.5], [1, -0.9], long(), axis=1))[:, BURN_IN:]
    drifting_phase = 2 * np.pi * t / 40 + np.cumsum(0.1 * white(), axis=1)
    rate = 0.5 * (1 + np.cos(np.pi * t / n))
    laplace = rng.laplace(size=(count, n + BURN_IN))
    return {
        "fractional .3 with root .5": np.asarray(
            lfilter([1], [1, -0.5], draw_long_memory(0.8, count, n + BURN_IN, rng), axis=1)
        )[:, BURN_IN:],
        "threshold autoregression": draw_threshold(count, n, rng),
        "level times noise": np.exp(0.3 * draw_process(0.95, count, n, rng)) * (1 + 0.1 * white()),
        "rounded sawtooth of 45 + noise": np.asarray(
            lfilter([0.3], [1, -0.7], 2 * np.abs((t / 45) % 1 - 0.5) + 0.1 * white(), axis=1)
        ),
        "variance in two regimes": draw_process(0.5, count, n, rng) * loud,
        "counts, Poisson of 3": rng.poisson(3, (count, n)).astype(float),
        "walk in float16": (0.01 * walk[:, BURN_IN:] + 3).astype(np.float16).astype(float),
        "running mean of 10 of a walk": np.asarray(lfilter(np.ones(10) / 10, [1], walk, axis=1))[:, BURN_IN:],
        "lognormal, white": np.exp(white()),
        "chi-square shocks, root .9": np.asarray(lfilter([1], [1, -0.9], long() ** 2 - 1, axis=1))[
            :, BURN_IN:
        ],
        "slow average of noise": np.asarray(lfilter([0.02], [1, -0.98], long(), axis=1))[:, BURN_IN:],
        "root .9, moving average -.5": mixed,
        "seasonal, 12 samples": seasonal,
        "loss under a falling rate": 2 / (1 + t / 30) ** 0.7 + 0.1 * rate * draw_process(0.6, count, n, rng),
        "period with a drifting phase": np.sin(drifting_phase) + 0.2 * white(),
        "Laplace shocks, root .9": np.asarray(lfilter([1], [1, -0.9], laplace, axis=1))[:, BURN_IN:],
        "smooth walk": np.cumsum(draw_process(0.9, count, n, rng), axis=1),
        "log of a squared process": np.log(0.05 + draw_process(0.9, count, n, rng) ** 2),
        "accuracy of 200, slow rise": rng.binomial(200, 0.3 + 0.5 * t / n, (count, n)) / 200,
        "two walks, one measured": 0.2 * draw_process(1, count, n, rng) + draw_process(0.7, count, n, rng),
    }


def draw_fresh_families(n: int, count: int, rng: Rng) -> dict[str, np.ndarray]:
    """The families that were written down when changes by likelihood had joined the test: (count, n) each."""
    t = np.arange(n)
    white = lambda: rng.standard_normal((count, n))  # noqa: E731
    slow = lambda root: draw_process(root, count, n, rng)  # noqa: E731
    tails = lambda freedom: rng.standard_t(freedom, (count, n + BURN_IN))  # noqa: E731
    recursion = lambda top, below, shocks: np.asarray(lfilter(top, below, shocks, axis=1))[:, -n:]  # noqa: E731
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    uniform = rng.uniform(-1, 1, (count, n + BURN_IN))
    return {
        "AR .6 with t5 shocks": recursion([1], [1, -0.6], tails(5)),
        "roots .95 and .5, moving average .4": recursion([1, 0.4], [1, -1.45, 0.475], tails(50)),
        "noise of waving strength, root .7": slow(0.7) * (1.5 + np.sin(2 * np.pi * t / n + phase)),
        "log growth + process of .9": 2 * np.log1p(t) + slow(0.9),
        "decay of 100 deviations": 100 * np.exp(-t / 30) + white(),
        "power law, relative noise of root .8": 3 * (1 + t / 5) ** -0.4 * np.exp(0.03 * slow(0.8)),
        "level, then a straight fall, root .5": -8 * np.maximum(t / n - 0.7, 0) / 0.3 + slow(0.5),
        "period 33 and its half, root .7": 2 * np.sin(2 * np.pi * t / 33 + phase)
        + np.sin(4 * np.pi * t / 33)
        + 0.5 * slow(0.7),
        "whole numbers on a walk": np.round(0.7 * slow(1)),
        "accuracy of 1,000, slow rise": rng.binomial(
            1000, 0.1 + 0.8 / (1 + np.exp(-6 * (t / n - 0.5))), (count, n)
        )
        / 1000,
        "walk, process and noise": 0.1 * slow(1) + slow(0.5) + 0.5 * white(),
        "uniform noise, mean of 5": recursion(np.ones(5) / 5, [1], uniform),
        "smooth, length 8, + process of .95": draw_smooth(8, count, n, rng) + slow(0.95),
        "slow average of t3 noise": recursion([0.1], [1, -0.9], tails(3)),
        "size of a process of .97": np.abs(slow(0.97)) + 0.05 * white(),
        "gamma shocks, root .5": recursion([1], [1, -0.5], rng.gamma(2.0, size=(count, n + BURN_IN)) - 2),
        "two seasons on a process": slow(0.95)
        + np.sin(2 * np.pi * t / 24 + phase)
        + 0.5 * np.sin(2 * np.pi * t / 7),
        "loss of .9 times itself, t6 noise": 4 * np.exp(-t / 60) + 0.2 * recursion([1], [1, -0.9], tails(6)),
        "median of 7 of a process": median_filter(slow(0.8), size=(1, 7)),
        "noise on every fourth value of a walk": slow(1) * 0.3 + white() * (t % 4 == 0),
    }


def draw_threshold(count: int, n: int, rng: Rng) -> np.ndarray:
    """(count, n) autoregression that remembers well below zero (root .9) and badly above it (.3)."""
    shocks = rng.standard_normal((count, n + BURN_IN))
    out = np.zeros_like(shocks)
    for i in range(1, n + BURN_IN):
        out[:, i] = np.where(out[:, i - 1] < 0, 0.9, 0.3) * out[:, i - 1] + shocks[:, i]
    return out[:, BURN_IN:]


def keep_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Values rounded to so many significant binary digits."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(fraction * 2.0**bits), exponent - bits)


Detector = Callable[[np.ndarray], list[Change]]
CUSUM_DRAWS = 400
CUSUM_SAMPLES = 400
MATCH = 5  # samples between a find and the planted jump
BASES = ("flat", "decay", "AR .8", "process + noise")


def draw_base(base: str, n: int, count: int, rng: Rng) -> np.ndarray:
    """(count, n) series of unit noise variance under which jumps are hidden: one of BASES.

    The process has memory 20 and measurement noise of .3 of its deviation; the decay falls by ten deviations in time 40.
    """
    if base == "flat":
        return rng.standard_normal((count, n))
    if base == "decay":
        return 10 * np.exp(-np.arange(n) / 40) + rng.standard_normal((count, n))
    if base == "AR .8":
        return draw_process(0.8, count, n, rng)
    slow = draw_process(np.exp(-1 / 20), count, n, rng)
    return (slow + 0.3 * rng.standard_normal((count, n))) / np.sqrt(1.09)


def plant_jumps(
    base: str, width: int, n: int, count: int, rng: Rng, size: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """(count, n) series with a jump of `size` noise deviations over `width` samples near each third, and their places.

    One goes up and one down, so that the level comes back; a series below 200 samples has one jump, near its middle.
    """
    t = np.arange(n)
    rows = draw_base(base, n, count, rng)
    thirds = ((0.28, 0.38), (0.62, 0.72)) if n >= 200 else ((0.38, 0.62),)
    places = np.stack([rng.integers(int(a * n), int(b * n), count) for a, b in thirds], 1)
    for row, pair, sign in zip(rows, places, rng.choice([-1.0, 1.0], size=count), strict=True):
        for index, direction in zip(pair, (sign, -sign), strict=False):
            u = t - index + 0.5
            row += size * direction * (np.clip(u / width + 0.5, 0, 1) if width > 1 else (u > 0))
    return rows, places


def keep_level_changes(changes: list[Change]) -> list[Change]:
    """Spikes and kinks are no jumps of the level, and are not counted as such."""
    return [change for change in changes if change.kind in ("step", "ramp")]


def share_with_jumps(detect: Detector, rows: np.ndarray) -> float:
    """Share of the `rows` (count, n) in which `detect` finds at least one level change."""
    return float(np.mean([bool(keep_level_changes(detect(row))) for row in rows]))


@dataclass(frozen=True)
class Recall:
    """Share of planted jumps with a find near them, false finds per series, and share of their intervals that hold the place."""

    recall: float
    false_per_series: float
    covered: float


def measure_recall(detect: Detector, rows: np.ndarray, places: np.ndarray) -> Recall:
    """What `detect` finds of the jumps at `places` (count, jumps) in `rows` (count, n); near means within MATCH samples."""
    hits = covered = false = 0
    for row, truth in zip(rows, places, strict=True):
        changes = keep_level_changes(detect(row))
        near = [[f for f in changes if abs(f.index - index) <= MATCH] for index in truth]
        hits += sum(bool(group) for group in near)
        covered += sum(
            any(f.low <= index <= f.high for f in group) for group, index in zip(near, truth, strict=True)
        )
        false += sum(all(abs(f.index - index) > MATCH for index in truth) for f in changes)
    return Recall(hits / places.size, false / len(rows), covered / max(hits, 1))


def self_normalized_cusum(values: np.ndarray) -> tuple[float, int]:
    """The largest quotient over the places of `values` (n,), and the place."""
    n = len(values)
    k = np.arange(1, n)
    total = np.cumsum(values)
    bridge = total[:-1] - k / n * total[-1]
    first, second = deviations_before(values), deviations_before(values[::-1])[::-1]
    quotient = (bridge**2 / n) / np.maximum((first + second) / n**2, 1e-300)
    return float(quotient.max()), int(quotient.argmax()) + 1


def deviations_before(values: np.ndarray) -> np.ndarray:
    """For each k = 1 .. n - 1 the sum over j <= k of (S_j - j / k S_k)^2."""
    total = np.cumsum(values)[:-1]
    j = np.arange(1, len(values))
    return np.cumsum(total**2) - 2 * total / j * np.cumsum(j * total) + (total / j) ** 2 * np.cumsum(j**2.0)


@lru_cache(maxsize=1)
def cusum_threshold(level: float = 0.05) -> float:
    """Its quantile on white noise."""
    rng = np.random.default_rng(0)
    return float(
        np.quantile(
            [self_normalized_cusum(rng.standard_normal(CUSUM_SAMPLES))[0] for _ in range(CUSUM_DRAWS)],
            1 - level,
        )
    )


def shifts_mean(values: np.ndarray) -> bool:
    """Whether the mean of `values` (n,) changes at a level of 5 %."""
    return self_normalized_cusum(values - values.mean())[0] > cusum_threshold()
