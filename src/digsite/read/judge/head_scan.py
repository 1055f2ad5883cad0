"""Is a backdoor planted? Read from the last two layers alone: no data, no zoo of this shape, and the class it points to.

A backdoor's target answers to a trigger whose features no clean image has, so its output row collects weight that the
other rows do not. Four readings of each row (its mean and its positive mass, plain and with every neuron weighed by the
norm of what enters it) are set against those of the other classes, robustly, and added up. How large the largest of C
sums is in clean networks was fitted on three recipes of thirty classes and on families of ten (`CALIBRATION`), and is checked
on three other recipes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr
from torch import Tensor

from digsite.base.errors import UsageError

STATISTICS = ("mean", "positive mass", "weighed mean", "weighed positive mass")
FEW_CLASSES = 20  # below it only extreme rows are told from the outliers of clean networks
LEVEL = 0.05


@dataclass(frozen=True)
class HeadCalibration:
    """Robust z-scores of clean classes, divided by `scale`, follow Student's t; with few classes its tails are heavy,
    because the median absolute deviation is then itself uncertain: (classes - 1) / 3 degrees of freedom, at most 30.
    """

    scale: float


CALIBRATION = HeadCalibration(
    scale=1.1
)  # .9 fits the clean zoos, .95 families of ten classes, 1.1 random heads: the widest


@dataclass(frozen=True)
class HeadScan:
    """`scores` (classes,): robust z of the sum of all readings. `p`: how often clean networks have so large a largest."""

    scores: np.ndarray
    readings: dict[str, np.ndarray]
    suspect: int
    p: float
    rows: tuple[int, ...]  # neurons that give the suspect most of its excess, largest first

    @property
    def alarm(self) -> bool:
        """Whether clean networks show so large a score in fewer than 5 % of cases."""
        return self.p < LEVEL

    @property
    def answer(self) -> str:
        """One sentence for a person."""
        z, n = float(self.scores[self.suspect]), len(self.scores)
        if self.alarm:
            return (
                f"perhaps: output row {self.suspect} of {n} stands out (robust z {z:.1f}; clean networks of so many classes reach "
                f"that with p = {self.p:.2g}), most by neurons {', '.join(map(str, self.rows[:3]))}."
            )
        if n < FEW_CLASSES:
            return (
                f"{n} classes are too few to tell: clean networks have outliers as large as the largest row here, that of class "
                f"{self.suspect} (robust z {z:.1f}, p = {self.p:.2g}); only an extreme one would count."
            )
        return (
            f"nothing stands out: the largest of {n} output rows is that of class {self.suspect} (robust z {z:.1f}, p = {self.p:.2g}); "
            "that is no proof, since many planted backdoors do not show in the output layer."
        )


def scan_head(
    head: Float[Tensor, "classes neurons"],
    feeding: Tensor | None = None,
    calibration: HeadCalibration | None = None,
) -> HeadScan:
    """Every class's output row beside the others, and how often clean networks show so large a largest score.

    `head` (classes, neurons) is the output matrix; `feeding` (neurons or channels, ...) the matrix or kernel before it,
    if there is one: a neuron that hears much counts more. `calibration` replaces the shipped one.
    """
    rows = head.detach().double().numpy()
    if rows.ndim != 2 or len(rows) < 3:
        raise UsageError(
            f"an output layer of shape {tuple(rows.shape)} has no classes to compare: at least three are needed."
        )
    readings = read_head_rows(rows, input_weights(feeding, rows.shape[1]))
    scores = robust_z(np.sum(list(readings.values()), axis=0))
    suspect = int(scores.argmax())
    excess = (rows - np.median(rows, axis=0))[suspect] * input_weights(feeding, rows.shape[1])
    return HeadScan(
        scores,
        readings,
        suspect,
        chance_of_largest_score(float(scores[suspect]), len(rows), calibration or CALIBRATION),
        tuple(int(i) for i in np.argsort(-excess)[:5]),
    )


def read_head_rows(rows: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The four readings, each (classes,) in robust z-scores over classes.

    `rows` (classes, neurons); `weights` (neurons,) as `input_weights` gives them. Positive mass is of rows less their
    mean over classes, because what all classes share no class profits from.
    """
    weighed = rows * weights
    centered, weighed_centered = rows - rows.mean(0), weighed - weighed.mean(0)
    readings = (
        rows.mean(1),
        np.maximum(centered, 0).sum(1),
        weighed.mean(1),
        np.maximum(weighed_centered, 0).sum(1),
    )
    return {name: robust_z(values) for name, values in zip(STATISTICS, readings)}


def input_weights(feeding: Tensor | None, neurons: int) -> np.ndarray:
    """(neurons,): norms of what enters each neuron of the last hidden layer; a channel's norm for each of its places."""
    if feeding is None or neurons % len(feeding):
        return np.ones(neurons)
    norms = feeding.detach().double().flatten(1).norm(dim=1).numpy()
    return np.repeat(norms, neurons // len(norms)) / max(float(norms.mean()), 1e-12)


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distance from the median in units of the median absolute deviation, scaled to a normal's standard deviation.

    Mean and deviation would be moved by the very outlier that is looked for.
    """
    center = np.median(values)
    return (values - center) / max(1.4826 * float(np.median(np.abs(values - center))), 1e-12)


def chance_of_largest_score(z: float, classes: int, calibration: HeadCalibration) -> float:
    """How often the largest of `classes` clean scores reaches z."""
    single = float(stdtr(freedom_of(classes), -z / calibration.scale))
    return float(-np.expm1(classes * np.log1p(-min(single, 1 - 1e-12))))


def freedom_of(classes: int) -> float:
    """Degrees of freedom of a robust z-score over this many classes."""
    return float(np.clip((classes - 1) / 3, 2.0, 30.0))


def fit_calibration(largest: np.ndarray, classes: int) -> HeadCalibration:
    """The scale under which these largest scores of clean networks (networks,) are likeliest."""
    from scipy.stats import t as student  # a second of loading, which a scan does not need

    freedom, scales = freedom_of(classes), np.arange(0.5, 2.01, 0.05)

    def likelihood(scale: float) -> float:
        x = largest / scale
        return float(
            (student.logpdf(x, freedom) - np.log(scale) + (classes - 1) * student.logcdf(x, freedom)).sum()
        )

    return HeadCalibration(float(round(max(scales, key=likelihood), 2)))
