"""Filters against closed forms: difference of means, unit response, blindness to what the base holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digsite.track.core import contrasts
from digsite.track.core.contrasts import BANK, Contrast


def test_white_noise_on_a_level_base_is_a_difference_of_means() -> None:
    weights = contrasts.sample_weights(Contrast(8, 1, 0))
    assert weights == pytest.approx(np.r_[-np.ones(8), np.ones(8)] / 8)


@pytest.mark.parametrize("contrast", BANK, ids=str)
def test_weights_see_a_unit_change_and_no_base(contrast: Contrast) -> None:
    distance = np.arange(-contrast.half, contrast.half) + 0.5
    weights = contrasts.sample_weights(contrast)
    assert weights @ contrast.profile(distance) == pytest.approx(1)
    assert weights.sum() == pytest.approx(0, abs=1e-9)
    if contrast.degree:
        assert weights @ distance == pytest.approx(0, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-50, 50), st.floats(0.1, 20))
def test_the_bank_is_linear_and_blind_to_levels(seed: int, level: float, scale: float) -> None:
    values = np.random.default_rng(seed).standard_normal(140)
    plain = contrasts.apply_bank(np.diff(values))
    moved = contrasts.apply_bank(np.diff(scale * values + level))
    for one, other in zip(plain, moved, strict=True):
        assert other == pytest.approx(scale * one, abs=1e-8 * scale)


def test_outputs_are_the_weights_on_the_samples_around() -> None:
    values = np.random.default_rng(0).standard_normal(150)
    for row, one in zip(contrasts.apply_bank(np.diff(values)), contrasts.usable_bank(150), strict=True):
        for place in (one.half, 70, 150 - one.half):
            around = values[place - one.half : place + one.half]
            assert row[place - one.half] == pytest.approx(contrasts.sample_weights(one) @ around)


def test_spread_is_that_of_the_noise_with_and_without_a_jump() -> None:
    one = Contrast(8, 1, 0)
    rows = np.random.default_rng(1).standard_normal((60, 400))
    jumps = rows + 9.0 * (np.arange(400) > 200)
    for values in (rows, jumps):
        out = np.stack([np.correlate(row, contrasts.sample_weights(one), "valid") for row in values])
        assert contrasts.clean_spread(out, one, 2).mean() == pytest.approx(np.sqrt(2 / 8), rel=0.1)
