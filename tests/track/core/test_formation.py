"""Dates of a curve with a known rise, of one that falls, and of one that never moves."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.data import sequences
from digsite.track.core.formation import (
    date_formation,
    like_cosines,
    restricted_and_excluded,
    share_frequencies,
    window_share,
)

STEPS = np.arange(0, 1000, 5.0)


@given(middle=st.floats(200, 700), width=st.floats(8, 40), level=st.floats(-3, 3), size=st.floats(0.1, 50))
def test_a_logistic_is_dated_at_its_own_quantiles(
    middle: float, width: float, level: float, size: float
) -> None:
    values = level + size / (1 + np.exp(-(STEPS - middle) / width))
    found = date_formation(STEPS, values)
    assert found is not None
    assert found.middle == pytest.approx(middle, abs=12) and found.onset == pytest.approx(
        middle - width * np.log(9), abs=15
    )
    assert found.end == pytest.approx(middle + width * np.log(9), abs=15)
    down = date_formation(STEPS, -values, falls=True)
    assert down is not None and down.middle == found.middle


def test_a_part_that_falls_again_is_dated_by_its_rise() -> None:
    values = np.exp(-(((STEPS - 400) / 80) ** 2))
    found = date_formation(STEPS, values)
    assert found is not None and 270 < found.onset < found.middle < found.end <= 400


def test_losses_are_dated_on_their_logarithm() -> None:
    values = 10.0 ** (-6 / (1 + np.exp(-(STEPS - 500) / 20)))
    plain, log = (date_formation(STEPS, values, falls=True, logarithmic=flag) for flag in (False, True))
    assert plain is not None and log is not None and plain.middle < log.middle == pytest.approx(500, abs=10)


def test_nothing_to_date() -> None:
    assert date_formation(STEPS, np.ones(200)) is None
    assert date_formation(STEPS, -STEPS) is None
    assert date_formation(STEPS[:2], np.arange(2.0)) is None
    with pytest.raises(UsageError, match="3 values but 2 steps"):
        date_formation(STEPS[:2], np.arange(3.0))


def test_chance_is_the_share_of_samples() -> None:
    found = date_formation(STEPS, (STEPS > 500).astype(float))
    assert found is not None and window_share(found, STEPS) == pytest.approx(1 / 200)


# Progress measures of modular addition on networks built by hand.

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
