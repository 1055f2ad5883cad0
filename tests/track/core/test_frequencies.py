"""Progress measures of modular addition on networks built by hand."""

import math

import pytest
import torch

from digsite.data import sequences
from digsite.track.core.frequencies import like_cosines, restricted_and_excluded, share_frequencies

P = 11
X, SUMS = sequences.modular_addition(P)


def logits_of(weights: dict[int, float]) -> torch.Tensor:
    angles = 2 * math.pi * (SUMS[:, None] - torch.arange(P)) / P
    return sum(w * torch.cos(k * angles) for k, w in weights.items())[None].float()


def test_one_frequency_is_all_of_the_logits() -> None:
    found = like_cosines(logits_of({3: 5.0}), SUMS)
    assert found[0, 2] == pytest.approx(1, abs=1e-6) and found[0, [0, 1, 3, 4]].abs().max() < 1e-6


def test_shares_add_to_one_and_name_the_frequency() -> None:
    angles = 2 * math.pi * torch.arange(P) / P
    embedding = (
        torch.stack([torch.cos(2 * angles), torch.sin(2 * angles), 0.5 * torch.cos(5 * angles)], 1)[None]
        + 3.0
    )
    share = share_frequencies(embedding)
    assert float(share.sum()) == pytest.approx(1) and share[0].argmax() == 1
    assert share[0, 4] == pytest.approx(0.25 / 2.25, abs=1e-3)


def test_restricted_suffices_and_excluded_knows_nothing() -> None:
    logits = logits_of({1: 30.0, 4: 30.0})
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    train = torch.arange(60)
    restricted, excluded = restricted_and_excluded(logits + 0.1 * noise, SUMS, train, torch.tensor([[0, 3]]))
    assert restricted.item() < 0.01 and excluded.item() == pytest.approx(math.log(P), abs=0.05)
