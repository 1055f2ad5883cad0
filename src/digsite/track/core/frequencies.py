"""How far each frequency of modular addition has formed: progress measures from the mechanism side (Nanda et al. 2023).

A network that adds modulo p by rotations writes cos(2 pi k (a + b - c) / p) into the logit of c for a few k. For each k: the share of the
embedding's energy, the likeness of the logits to that cosine, and the loss without it (excluded) or with it alone (restricted).
"""

from __future__ import annotations

from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
    restricted = _cross_entropy(key, sums)
    excluded = _cross_entropy((every - key)[:, train], sums[train])
    return restricted, excluded


def _cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    logs = logits.log_softmax(-1)
    return -logs.gather(-1, answers[None, :, None].expand(len(logits), -1, 1)).mean((1, 2))
