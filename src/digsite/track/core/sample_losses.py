"""Loss by sample: breakthroughs of some samples that a smooth mean hides, found along the directions that training took.

Between two checkpoints the loss of sample i changes by about g_i . (w' - w). The way of training has a few main directions, and the change along each
of them is the product of two numbers: how far training went in it, and the slope of the sample's loss in it (one forward derivative for all
samples). Samples whose changes go together in time are a cluster; whether there are any is judged against samples with their changes
exchanged at every step, which keeps the mean, and each step's spread, and takes away that the same samples go together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.autograd.functional import jvp
from torch.func import functional_call

PARTS = 6  # principal parts of the curves that are clustered
SampleLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SampleClusters:
    """Samples in clusters; `explained` is the share of the variance of changes in few common
    curves, `null` and `p` are by exchange of samples.

    `halves` are the intervals at which half of each cluster's fall is done; labels are ordered by them.
    """

    labels: np.ndarray
    count: int
    explained: float
    null: float
    p: float
    halves: tuple[int, ...]


def main_directions(rows: Float[Tensor, "t p"], count: int) -> Float[Tensor, "d p"]:
    """Orthonormal directions in which training went farthest between checkpoints. rows: weights of T checkpoints."""
    moves = (rows[1:] - rows[:-1]).double()
    directions = torch.linalg.svd(moves, full_matrices=False)[2][:count]
    return directions.to(rows.dtype)


def split_losses(
    model: nn.Module,
    rows: Float[Tensor, "t p"],
    views: Callable[[Tensor], dict[str, Tensor]],
    x: Tensor,
    y: Tensor,
    loss: SampleLoss,
    count: int = 3,
) -> tuple[Float[Tensor, "t n"], Float[Tensor, "d t-1 n"]]:
    """Losses of each sample at each checkpoint, and their changes along each main direction.

    model: the network; rows: its weights at T checkpoints; views: turns a row into named parameters. x, y: the samples. loss:
    of (outputs, targets), one value per sample. count: directions. Slopes are taken at both ends of an interval and averaged,
    which makes the sum over all directions the true change up to third order.
    """
    directions = main_directions(rows, count)

    def losses_at(row: Tensor) -> Tensor:
        return loss(functional_call(model, views(row), (x,)), y)

    values, slopes = [], []
    for row in rows:
        products = [jvp(losses_at, row, d) for d in directions]
        values.append(products[0][0].detach())
        slopes.append(torch.stack([slope.detach() for _, slope in products]))
    losses, slope = torch.stack(values), torch.stack(slopes, 1)
    ways = torch.einsum("tp,dp->dt", rows[1:] - rows[:-1], directions)
    return losses, 0.5 * (slope[:, 1:] + slope[:, :-1]) * ways[..., None]


def cluster_samples(
    changes: Float[np.ndarray, "t n"], rng: np.random.Generator, *, most: int = 8, draws: int = 99
) -> SampleClusters:
    """Clusters of samples whose losses change together, against exchanged samples.

    changes: of N samples over T intervals, in all or along one direction. rng: of the exchanges. most: clusters that are tried;
    the number is the one that explains most beyond its null. draws: exchanges for the p-value.
    """
    curves = _standardize_changes(changes)
    sizes = range(2, most + 1)
    beyond = _explained_share(curves, sizes) - _explained_share(
        _standardize_changes(_exchange_samples(changes, rng)), sizes
    )
    count = int(sizes[int(np.argmax(beyond))])
    # That samples go together is judged by their largest common parts, which costs no clustering per exchange.
    null = [_common_share(_exchange_samples(changes, rng)) for _ in range(draws)]
    value = _common_share(changes)
    p = (1 + sum(n >= value for n in null)) / (draws + 1)
    means = KMeans(count, n_init=4, random_state=0)  # pyright: ignore[reportArgumentType]
    labels, halves = _order_labels(changes, means.fit_predict(curves), count)
    return SampleClusters(labels, count, value, float(np.mean(null)), float(p), halves)


def _common_share(changes: np.ndarray) -> float:
    """Share of the variance of centered changes that PARTS common curves hold."""
    centered = _center_changes(changes)
    power = np.linalg.eigvalsh(centered @ centered.T)[::-1]
    return float(power[:PARTS].sum() / max(power.sum(), 1e-300))


def _standardize_changes(changes: np.ndarray) -> np.ndarray:
    """Samples as rows: few principal parts of their centered changes."""
    u, s, _ = np.linalg.svd(_center_changes(changes).T, full_matrices=False)
    return u[:, :PARTS] * s[:PARTS]


def _exchange_samples(changes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The null: each change of loss goes to another sample."""
    return np.stack([row[rng.permutation(len(row))] for row in changes])


def _center_changes(changes: np.ndarray) -> np.ndarray:
    """Smoothed over three intervals and less the mean over samples, (intervals, samples)."""
    padded = np.pad(changes, ((1, 1), (0, 0)), mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return (smooth - smooth.mean(1, keepdims=True)) / (changes.std() + 1e-12)


def _explained_share(curves: np.ndarray, sizes: Sequence[int] | range) -> np.ndarray:
    """Variance that k clusters of curves explain."""
    total = float(((curves - curves.mean(0)) ** 2).sum()) + 1e-300
    return np.array([1 - KMeans(k, n_init=2, random_state=0).fit(curves).inertia_ / total for k in sizes])  # pyright: ignore[reportOptionalOperand, reportArgumentType]


def _order_labels(changes: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Labels in the order of the intervals at which half of each cluster's fall is done."""
    halves = []
    for k in range(count):
        fall = -np.cumsum(changes[:, labels == k].mean(1))
        halves.append(int(np.argmax(fall >= 0.5 * fall.max())) if fall.max() > 0 else len(fall))
    rank = np.argsort(np.argsort(halves, kind="stable"), kind="stable")
    return rank[labels], tuple(sorted(halves))
