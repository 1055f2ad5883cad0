"""A dictionary against the features that are really there: MCC of directions and F1 of detection, beside reconstruction.

Reconstruction says how much of the activations comes back, not whether the features were found: principal directions
rebuild a great deal and mean nothing. So every score is read beside random and principal directions of the same number.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from digsite.graft.subjects.known_features import BOTH, FIRST, SECOND

THRESHOLDS = 24  # tried for a latent on the fitting half
SHARE = (
    0.7  # of a row's length that makes a feature one model's own, as published comparisons of models cut it
)


@dataclass(frozen=True)
class TruthScore:
    """`mcc`: mean |cosine| of matched directions over the true features (a feature without a partner counts 0);
    `f1`: mean over features of detecting it by its partner; `explained`: variance rebuilt; `open_codes` per sample."""

    mcc: float
    f1: float
    explained: float
    open_codes: float


def match_directions(
    learned: Float[Tensor, "latents width"], true: Float[Tensor, "features width"]
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"], Float[np.ndarray, "pairs"]]:
    """The one-to-one pairing of largest total |cosine|: latents, features, and their cosines.

    Signed decoders are compared without their sign: a dictionary that codes a feature by its opposite has found it.
    """
    unit = learned / learned.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cosine = (unit @ (true / true.norm(dim=1, keepdim=True)).T).abs().double().numpy()
    latents, features = linear_sum_assignment(cosine, maximize=True)
    return latents, features, cosine[latents, features]


def score_directions(learned: Float[Tensor, "latents width"], true: Float[Tensor, "features width"]) -> float:
    """The mean correlation coefficient: mean matched |cosine| over all true features."""
    return float(match_directions(learned, true)[2].sum() / len(true))


def score_detection(
    codes: Float[Tensor, "n latents"],
    on: Bool[Tensor, "n features"],
    latents: Int[np.ndarray, "pairs"],
    features: Int[np.ndarray, "pairs"],
) -> float:
    """Mean F1 over all true features of "my partner is above its threshold" for "I am on".

    The threshold of a latent is the best of a few quantiles on the first half of the samples; the score is read on the
    second half, so that kinds without a threshold of their own (projections) are not at a disadvantage.
    """
    half = len(codes) // 2
    total = 0.0
    for latent, feature in zip(latents.tolist(), features.tolist(), strict=True):
        values, wanted = codes[:, latent], on[:, feature]
        grid = torch.quantile(values[:half].abs(), torch.linspace(0, 0.995, THRESHOLDS))
        scores = [(_score_f1(values[:half].abs() > t, wanted[:half]), float(t)) for t in grid]
        total += _score_f1(values[half:].abs() > max(scores)[1], wanted[half:])
    return total / on.shape[1]


def _score_f1(said: Bool[Tensor, "n"], wanted: Bool[Tensor, "n"]) -> float:
    """Harmonic mean of precision and recall of saying a feature is on."""
    hits = int((said & wanted).sum())
    return 2 * hits / max(int(said.sum()) + int(wanted.sum()), 1)


def score_truth(
    learned: Float[Tensor, "latents width"],
    codes: Float[Tensor, "n latents"],
    rebuilt: Float[Tensor, "n width"],
    x: Float[Tensor, "n width"],
    true: Float[Tensor, "features width"],
    on: Bool[Tensor, "n features"],
) -> TruthScore:
    """All four figures of one dictionary on samples that it was not fitted on."""
    latents, features, cosines = match_directions(learned, true)
    left = (rebuilt - x).square().sum() / (x - x.mean(0)).square().sum().clamp_min(1e-12)
    return TruthScore(
        float(cosines.sum() / len(true)),
        score_detection(codes, on, latents, features),
        float(1 - left),
        float((codes.abs() > 1e-9).float().sum(1).mean()),
    )


def score_owners(
    learned: Float[Tensor, "latents width"],
    true: Float[Tensor, "features width"],
    owners: Int[Tensor, "features"],
) -> float:
    """How often the learned directions alone say which of two models knows a feature, mean over both, first and second.

    The share of the first model in the lengths of a latent's two halves says it: above `SHARE` the first one's own, below
    the rest the second one's. Always saying "both" scores 1/3; a feature without a partner is not told.
    """
    latents, features, _ = match_directions(learned, true)
    first, second = learned.unflatten(1, (2, -1)).norm(dim=2).T
    share = (first / (first + second).clamp_min(1e-12))[torch.from_numpy(latents)]
    said = torch.full_like(owners, -1)
    said[torch.from_numpy(features)] = torch.where(
        share > SHARE, FIRST, torch.where(share < 1 - SHARE, SECOND, BOTH)
    )
    return float(np.mean([float((said == who)[owners == who].float().mean()) for who in owners.unique()]))


def draw_random_directions(width: int, n: int, draw: torch.Generator) -> Float[Tensor, "n width"]:
    """The null: unit directions that have seen nothing."""
    rows = torch.randn(n, width, generator=draw)
    return rows / rows.norm(dim=1, keepdim=True)


def find_principal_directions(x: Float[Tensor, "n width"], n: int) -> Float[Tensor, "k width"]:
    """The rival: the first principal directions, at most as many as there are dimensions."""
    return torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:n]
