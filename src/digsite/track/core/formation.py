"""When a part of a network formed: onset, middle and end of the largest rise of a curve, without a threshold on its level.

A representation's curve may lie near zero for most of training, rise, overshoot and fall again. What is dated is the largest climb from a low to
a later high; onset, middle and end are where 10, 50 and 90 % of it are gone, for the last time before the high.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Formation:
    """Steps of the largest climb of a curve, and how large it is beside the whole range of the curve."""

    onset: float
    middle: float
    end: float
    climb: float

    def holds(self, step: float) -> bool:
        """Whether a step lies between onset and end."""
        return self.onset <= step <= self.end


def date_formation(
    steps: Float[np.ndarray, " n"],
    values: Float[np.ndarray, " m"],
    *,
    falls: bool = False,
    logarithmic: bool = False,
) -> Formation | None:
    """The largest climb of a curve; None for one that never climbs.

    steps, values: the curve, n samples in order. falls: date the largest fall, as of a restricted loss. logarithmic: on
    log values, as of losses, which fall through orders of magnitude.
    """
    if len(steps) != len(values):
        raise UsageError(f"There are {len(values)} values but {len(steps)} steps.")
    v = np.log(np.maximum(values, 1e-12)) if logarithmic else np.asarray(values, dtype=float)
    v = -v if falls else v
    whole = np.isfinite(v)
    t, v = np.asarray(steps, dtype=float)[whole], v[whole]
    if len(v) < 3:
        return None
    ups = v - np.minimum.accumulate(v)
    high = int(ups.argmax())
    if ups[high] <= 0:
        return None
    low = int(v[: high + 1].argmin())
    share = (v[low : high + 1] - v[low]) / ups[high]
    at = [t[low + min(int(np.flatnonzero(share < level)[-1]) + 1, high - low)] for level in (0.1, 0.5, 0.9)]
    return Formation(float(at[0]), float(at[1]), float(at[2]), float(ups[high]))


def window_share(formation: Formation, steps: Float[np.ndarray, " n"]) -> float:
    """The chance that a date drawn at random lies in the window: its share of the samples, which are where dates can fall.

    formation: the window. steps: all samples of the run; their spacing is the clock, logarithmic for log-spaced ones.
    """
    return float(np.mean((steps >= formation.onset) & (steps <= formation.end)))


# How far each frequency of modular addition has formed: progress measures from the mechanism side (Nanda et al. 2023).
#
# A network that adds modulo p by rotations writes cos(2 pi k (a + b - c) / p) into the logit of c for a few k. For each k: the share of the
# embedding's energy, the likeness of the logits to that cosine, and the loss without it (excluded) or with it alone (restricted).


def share_frequencies(embedding: Float[Tensor, "k p d"]) -> Float[Tensor, "k f"]:
    """Share of each frequency 1..(p-1)/2 in the energy of embeddings over the numbers, without the mean.

    embedding: of K networks, one row per number.
    """
    power = torch.fft.rfft(embedding.double(), dim=1).abs().square().sum(-1)[:, 1:]
    return power / power.sum(1, keepdim=True).clamp(min=1e-300)


def cosine_table(modulus: int) -> Float[Tensor, "f p"]:
    """cos(2 pi k s / p) for k = 1..(p-1)/2 and s = 0..p-1, each of unit mean square over s."""
    k = torch.arange(1, (modulus - 1) // 2 + 1).double()
    angles = 2 * pi * torch.outer(k, torch.arange(modulus).double()) / modulus
    return angles.cos() * 2**0.5


def fold_logits(logits: Float[Tensor, "k n p"], sums: Int[Tensor, " n"]) -> Float[Tensor, "k p"]:
    """Mean centered logit by its distance from the right answer, (K, p): the part that depends on a + b - c alone.

    logits: over all pairs. sums: a + b modulo p of each pair.
    """
    centered = logits.double() - logits.double().mean(-1, keepdim=True)
    p = logits.shape[-1]
    index = (sums[:, None] + torch.arange(p)) % p
    turned = centered.gather(-1, index.expand(len(logits), -1, -1))
    return turned.mean(1)


def like_cosines(logits: Float[Tensor, "k n p"], sums: Int[Tensor, " n"]) -> Float[Tensor, "k f"]:
    """Cosine similarity of centered logits with cos(2 pi k (a + b - c) / p), for each k: what group networks call trace similarity.

    logits: of K networks over all pairs. sums: the right answer of each pair.
    """
    folded, p = fold_logits(logits, sums), logits.shape[-1]
    centered = logits.double() - logits.double().mean(-1, keepdim=True)
    size = centered.square().mean((1, 2)).sqrt().clamp(min=1e-300)
    return folded @ cosine_table(p).T / p / size[:, None]


def restricted_and_excluded(
    logits: Float[Tensor, "k n p"],
    sums: Int[Tensor, " n"],
    train: Int[Tensor, " m"],
    keys: Int[Tensor, "k j"],
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Loss over all pairs with the key frequencies' part of the logits alone, and loss on training pairs without it.

    logits: over all pairs (K networks). sums: right answers. train: indices of the training pairs. keys: indices into the
    frequencies, J of each network. Restricted loss falls as the mechanism suffices, excluded loss rises as it is used.
    """
    p = logits.shape[-1]
    table = cosine_table(p)[keys]  # (K, J, p)
    folded = fold_logits(logits, sums)
    weights = torch.einsum("kjp,kp->kj", table, folded) / p
    part = torch.einsum("kj,kjp->kp", weights, table)
    index = (torch.arange(p) - sums[:, None]) % p
    key = part[:, index]  # (K, n, p)
    every = logits.double()
    restricted = answer_losses(key, sums)
    excluded = answer_losses((every - key)[:, train], sums[train])
    return restricted, excluded


def answer_losses(logits: Tensor, answers: Tensor) -> Tensor:
    """Loss on each answer, (checkpoints,), from logits (checkpoints, n, vocabulary) of the same inputs."""
    logs = logits.log_softmax(-1)
    return -logs.gather(-1, answers[None, :, None].expand(len(logits), -1, 1)).mean((1, 2))
