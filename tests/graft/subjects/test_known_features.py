"""Worlds are what they say: rates, correlations and hierarchies come out, and scores know a perfect dictionary."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.graft.judge.dictionaries import (
    draw_random_directions,
    find_principal_directions,
    match_directions,
    score_directions,
    score_truth,
)
from digsite.graft.subjects.known_features import KINDS, draw_activations, draw_codes, draw_world


@pytest.mark.parametrize("kind", ["independent", "correlated"])
def test_features_are_on_as_often_as_they_should(kind):
    world = draw_world(kind, 32, 16, seed=1)
    on = (draw_codes(world, 40_000, 2) > 0).float()
    torch.testing.assert_close(on.mean(0), world.rates, atol=0.01, rtol=0.05)


def test_groups_go_together_only_where_they_should():
    def together(kind: str) -> float:
        world = draw_world(kind, 32, 16, seed=1)
        on = (draw_codes(world, 20_000, 2) > 0).float()
        corr = torch.corrcoef(on.T)
        same = (world.groups[:, None] == world.groups) & ~torch.eye(32, dtype=torch.bool)
        return float(corr[same].mean())

    assert together("correlated") > 0.2 > abs(together("independent"))


def test_a_child_is_never_on_without_its_parent():
    world = draw_world("hierarchical", 32, 16, seed=1)
    on = draw_codes(world, 5000, 2) > 0
    child = world.parents >= 0
    assert on[:, child].any() and not (on[:, child] & ~on[:, world.parents[child]]).any()


def test_activations_are_codes_times_directions():
    world = draw_world("independent", 12, 8, noise=0.0, seed=3)
    x, codes = draw_activations(world, 50, 4)
    torch.testing.assert_close(x, codes @ world.directions)
    assert tuple(KINDS) == ("independent", "correlated", "hierarchical")


def test_the_true_dictionary_scores_one_and_a_random_one_does_not():
    world = draw_world("independent", 24, 24, noise=0.0, seed=5)
    x, codes = draw_activations(world, 2000, 6)
    score = score_truth(world.directions, codes, codes @ world.directions, x, world.directions, codes > 0)
    assert (
        score.mcc == pytest.approx(1, abs=1e-5) and score.f1 == pytest.approx(1) and score.explained > 0.999
    )
    null = draw_random_directions(24, 24, torch.Generator().manual_seed(0))
    assert score_directions(null, world.directions) < 0.7


def test_a_missing_feature_counts_as_nothing_and_signs_do_not_count():
    true = torch.eye(4)
    assert score_directions(-true[:3], true) == pytest.approx(0.75)
    latents, features, _ = match_directions(true[[2, 0]], true)
    assert sorted(zip(latents.tolist(), features.tolist())) == [(0, 2), (1, 0)]
    assert find_principal_directions(torch.randn(50, 4), 9).shape == (4, 4)


def test_worlds_that_make_no_sense_are_said():
    with pytest.raises(UsageError, match="no world 'flat'"):
        draw_world("flat")
    with pytest.raises(UsageError, match="holds no group"):
        draw_world(n_features=2)
