"""Worlds are what they say: rates, correlations and hierarchies come out, and scores know a perfect dictionary."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.graft.judge.dictionaries import (
    draw_random_directions,
    find_principal_directions,
    match_directions,
    score_directions,
    score_owners,
    score_truth,
)
from digsite.graft.subjects.known_features import (
    BOTH,
    FIRST,
    KINDS,
    SECOND,
    draw_activations,
    draw_codes,
    draw_inputs,
    draw_world,
)


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
    assert tuple(KINDS) == ("independent", "correlated", "hierarchical", "two_models", "map")


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


def test_two_models_share_most_features_and_each_has_its_own():
    world = draw_world("two_models", 32, 16, noise=0.0, seed=3)
    first, second = world.directions.unflatten(1, (2, 16)).norm(dim=2).T
    torch.testing.assert_close(first, (world.owners != SECOND).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(second, (world.owners != FIRST).float(), atol=1e-6, rtol=0)
    assert int((world.owners == BOTH).sum()) == 24 and world.models == 2
    x, codes = draw_activations(world, 40, 4)
    own = world.owners == SECOND
    torch.testing.assert_close(x[:, :16], codes[:, ~own] @ world.directions[~own, :16])


def test_the_right_owner_is_read_from_the_directions_alone():
    world = draw_world("two_models", 32, 16, seed=3)
    mixed = world.directions[torch.randperm(32, generator=torch.Generator().manual_seed(0))] * 3
    assert score_owners(mixed, world.directions, world.owners) == 1.0
    said_both = torch.cat([torch.ones(32, 16), torch.ones(32, 16)], 1)
    assert score_owners(said_both, world.directions, world.owners) == pytest.approx(1 / 3)
    assert score_owners(world.directions[:16], world.directions, world.owners) == pytest.approx(0.5)


def test_a_map_writes_most_features_in_another_basis_and_ignores_a_quarter():
    world = draw_world("map", 32, 16, noise=0.0, seed=3)
    y, codes = draw_activations(world, 40, 4)
    x = draw_inputs(world, codes, 4)
    assert x is not None and world.read is not None and int(world.written.sum()) == 24
    torch.testing.assert_close(x, codes @ world.read)
    torch.testing.assert_close(y, codes[:, world.written] @ world.directions[world.written])
    assert draw_inputs(draw_world("independent", 12, 8), codes[:, :12]) is None
