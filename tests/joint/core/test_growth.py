import numpy as np
import pytest
import torch

from digsite.decompose.judge.score import find_frequency, measure_concentration
from digsite.joint.core.growth import (
    center_map,
    compare_effects,
    compare_places,
    date_growth,
    find_again,
    follow_directions,
    share_within,
    split_map,
    split_singular_map,
)
from digsite.track.core.formation import Formation

P, NEURONS = 31, 40


def make_map(frequencies):
    """Ten neurons follow each wave, their phases evenly spread; all waves are equally strong, so singular vectors mix them."""
    numbers = torch.arange(P).double()[:, None]
    waves = torch.tensor(frequencies).repeat_interleave(NEURONS // len(frequencies))
    phases = 6.283185307 * torch.arange(NEURONS).double() * len(frequencies) / NEURONS
    return (6.283185307 * waves * numbers / P + phases).cos()


def test_parts_are_single_waves_where_singular_parts_mix_them():
    table = make_map([2, 5, 7, 11])
    found, plain = split_map(table, 0.999), split_singular_map(table, 0.999)
    assert measure_concentration(found.reads).mean() > 0.99 > measure_concentration(plain.reads).mean()
    assert set(find_frequency(found.reads).tolist()) == {2, 5, 7, 11}
    assert torch.allclose(found.reads @ found.writes.T, plain.reads @ plain.writes.T, atol=1e-8)


def test_followed_back_the_wave_that_was_added_later_grows_later():
    both = make_map([3, 8])
    early, late = both.clone(), both.clone()
    early[:, NEURONS // 2 :], late[:, : NEURONS // 2] = 0, 0
    steps = np.arange(0, 101, 2.0)
    ramp = lambda middle: torch.from_numpy(1 / (1 + np.exp(-(steps - middle) / 4)))  # noqa: E731
    tables = (
        ramp(25)[:, None, None] * early
        + ramp(70)[:, None, None] * late
        + 0.1 * torch.randn(51, P, NEURONS, generator=torch.Generator().manual_seed(2))
    )
    parts = split_map(tables[-1], 0.97)
    shares = follow_directions(tables, parts.directions)
    dates = {
        int(w): date_growth(steps, c, detect=False).climb
        for w, c in zip(find_frequency(parts.reads), shares.T)
    }
    assert dates[3].middle < 40 < 60 < dates[8].middle
    assert np.all(shares.sum(1) <= 1 + 1e-9)


def test_how_much_of_a_climb_lies_in_a_window():
    steps, curve = np.arange(11.0), np.linspace(0, 1, 11)
    climb = date_growth(steps, curve, detect=False).climb
    assert share_within(steps, curve, climb, Formation(2, 4, 6, 1.0)) == pytest.approx(0.4)
    assert share_within(steps, curve, None, Formation(2, 4, 6, 1.0)) == 0.0


def test_a_map_that_says_nothing_has_one_part_at_most():
    assert split_map(torch.ones(P, NEURONS), 0.97).reads.shape[1] == 1
    assert center_map(torch.ones(P, NEURONS)).abs().max() == 0


def test_a_part_is_found_again_whatever_its_sign_and_the_order_of_neurons():
    parts = split_map(make_map([2, 5, 7, 11]), 0.999)
    order = torch.randperm(NEURONS, generator=torch.Generator().manual_seed(0))
    renumbered = -make_map([2, 5, 7, 11])[:, order]
    assert find_again(parts.directions, split_map(renumbered, 0.999)).min() > 0.999
    other = split_map(make_map([3, 4, 6, 9]), 0.999)
    assert find_again(parts.directions, other).max() < 0.01
    assert compare_places(make_map([2, 5, 7, 11]), renumbered, parts.directions).max() < 0.6
    assert (
        compare_places(make_map([2, 5, 7, 11]), 3 * make_map([2, 5, 7, 11]), parts.directions).min() > 0.999
    )


def test_effects_are_compared_without_what_all_answers_share():
    effect = torch.randn(6, 9, generator=torch.Generator().manual_seed(1))
    assert compare_effects(effect, 2 * effect + torch.arange(6.0)[:, None]) == pytest.approx(1)
    assert compare_effects(effect, -effect) == pytest.approx(-1)
    assert compare_effects(effect, torch.zeros(6, 9)) == 0
