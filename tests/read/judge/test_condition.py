"""States that were planted in random matrices are found, and random matrices show none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digsite.data import load
from digsite.models import build, parse
from digsite.read.judge.condition import (
    chance_of_largest_row,
    check_condition,
    check_matrix,
    check_training,
    find_number_grid,
    find_pattern,
    find_twins,
)
from digsite.train import Ensemble, Member


def random_matrix(seed: int, rows: int = 96, columns: int = 128) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def keep_of_groups(weight: torch.Tensor, kept: int, group: int) -> torch.Tensor:
    """The largest `kept` of every `group` inputs stay, as n:m pruning leaves them."""
    parts = weight.reshape(len(weight), -1, group)
    smallest = parts.abs().argsort(-1)[..., : group - kept]
    return parts.scatter(-1, smallest, 0.0).reshape(weight.shape)


@pytest.mark.parametrize(("kept", "group"), [(2, 4), (4, 8), (1, 2)])
def test_a_pattern_is_named_and_is_no_chance(kept, group):
    found = check_condition("w", keep_of_groups(random_matrix(0), kept, group))
    assert found.pattern == f"{kept}:{group}" and found.pattern_p < 1e-6
    assert found.zeros == pytest.approx(1 - kept / group, abs=0.01)


def test_free_pruning_of_as_many_weights_is_no_pattern():
    weight = random_matrix(1)
    weight[weight.abs() < weight.abs().median()] = 0
    assert check_condition("w", weight).pattern == ""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_format_that_holds_all_values_is_named(dtype):
    assert find_number_grid(random_matrix(2).to(dtype).float()) == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_to_a_grid_of_each_row_is_named(bits):
    weight = random_matrix(3, 64, 1024)
    scale = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    assert find_number_grid((weight / scale).round() * scale) == f"{bits} bits a row"


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_random_matrix_shows_nothing(seed):
    found = check_condition("w", random_matrix(seed, 64, 64))
    assert (found.pattern, found.grid, found.dead_rows, found.not_finite, found.zeros) == ("", "", 0, 0, 0.0)


def test_the_largest_row_of_random_matrices_is_called_an_outlier_as_often_as_stated():
    p = np.array([check_condition("w", random_matrix(seed, 80, 64)).outlier_p for seed in range(200)])
    assert (p < 0.05).mean() <= 0.08
    assert 0.3 < (p < 0.5).mean() < 0.7


def test_a_row_that_stands_out_is_named():
    weight = random_matrix(4)
    weight[17] *= 4
    found = check_condition("w", weight)
    assert found.outlier == 17 and found.outlier_p < 1e-4


def test_dead_rows_and_numbers_that_are_none_are_counted():
    weight = random_matrix(5)
    weight[[3, 9]] = 0
    weight[0, 0], weight[1, 1] = torch.nan, torch.inf
    found = check_condition("w", weight)
    assert (found.dead_rows, found.not_finite) == (2, 2)


def test_copies_are_twins_and_independent_matrices_are_not():
    drawn = {f"w{seed}": random_matrix(seed) for seed in range(6)}
    assert find_twins(drawn.items()) == []
    (pair,) = find_twins({**drawn, "copy": drawn["w2"] + 0.1 * random_matrix(99)}.items())
    assert {pair.first, pair.second} == {"w2", "copy"} and pair.p < 1e-10 and not pair.equal


@given(st.floats(3.0, 12.0), st.integers(8, 200))
@settings(max_examples=25, deadline=None)
def test_chances_are_probabilities_and_fall(z, n):
    assert 0 < chance_of_largest_row(z, n) <= chance_of_largest_row(z - 1, n) <= 1


def test_too_few_zeros_are_no_pattern():
    assert find_pattern(random_matrix(6), 0.0) == ("", 1.0)


MLP = {"kind": "mlp", "sizes": [64, 32, 16, 10]}


def _checked(steps, init="default"):
    images = load("digits")
    members = [Member(seed=s, init=init, lr=2e-3, steps=steps) for s in range(8)]
    ensemble = Ensemble(build(parse(MLP)), (images.x_train, images.y_train), members)
    while not ensemble.done:
        ensemble.step()
    return [check_training({k: t[i] for k, t in ensemble.params.items()}) for i in range(8)]


@pytest.mark.parametrize("init", ["default", "glorot", "truncated", "orthogonal"])
def test_random_weights_look_untrained_whatever_their_distribution(init):
    found = _checked(0, init)
    assert sum(f.trained for f in found) <= 1
    assert "untrained" in next(f for f in found if not f.trained).answer


def test_a_short_training_is_seen():
    found = _checked(100)
    assert all(f.trained for f in found) and "weights are not random" in found[0].answer


def test_matrices_that_say_nothing():
    assert check_matrix("w", torch.randn(3, 50)) is None and check_matrix("w", torch.ones(9, 9)) is None
    assert check_training({"b": torch.zeros(4)}).p == 1.0


def test_the_scale_does_not_matter():
    w = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    assert check_matrix("w", w).p == pytest.approx(check_matrix("w", 1e3 * w).p, rel=1e-3)
