"""Merges against their closed forms, and what must hold of every one of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.graft.core.merges import FAMILY, Evidence, MergeSettings, merge_models
from digsite.graft.core.merges.averages import measure_fisher, measure_grams

METHODS = families.list_members(FAMILY)


def states(seed=0, n=3):
    """A start and two models tuned from it."""
    g = torch.Generator().manual_seed(seed)
    return [{"w": torch.randn(4, n, generator=g), "b": torch.randn(4, generator=g)} for _ in range(3)]


def evidence(seed=0, n=3):
    g = torch.Generator().manual_seed(seed + 100)
    x = [torch.randn(50, n, generator=g) for _ in range(2)]
    fisher = [{"w": torch.rand(4, n, generator=g), "b": torch.rand(4, generator=g)} for _ in range(2)]
    return Evidence(states(seed)[0], fisher, [{"w": a.T @ a / 50} for a in x]), x


@pytest.mark.parametrize("method", METHODS)
def test_two_equal_parents_that_are_the_start_merge_to_themselves(method):
    start, _, _ = states()
    given_, _ = evidence()
    merged = merge_models(method, [start, start], given_)
    for name, weight in start.items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_parents_are_left_as_they_are(method):
    _, a, b = states()
    copies = [{k: v.clone() for k, v in s.items()} for s in (a, b)]
    merge_models(method, [a, b], evidence()[0])
    assert all(torch.equal(s[k], c[k]) for s, c in zip((a, b), copies, strict=True) for k in s)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 500))
def test_task_arithmetic_at_half_is_the_average(seed):
    start, a, b = states(seed)
    half = merge_models("task_arithmetic", [a, b], Evidence(start), MergeSettings(scale=0.5))
    torch.testing.assert_close(half["w"], merge_models("average", [a, b])["w"], rtol=1e-4, atol=1e-5)


def test_regmean_is_the_least_squares_answer():
    """One map that says on both parents' inputs what the parent said there, by numpy."""
    _, a, b = states()
    given_, x = evidence()
    merged = merge_models("regmean", [a, b], given_, MergeSettings(shrink=1.0))
    inputs = torch.cat(x).double()
    wanted = torch.cat([x[0] @ a["w"].T, x[1] @ b["w"].T]).double()
    exact = torch.linalg.lstsq(inputs, wanted).solution.T
    torch.testing.assert_close(merged["w"].double(), exact, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(merged["b"], (a["b"] + b["b"]) / 2)


def test_fisher_follows_the_parent_that_cares():
    _, a, b = states()
    sure = [{"w": torch.ones(4, 3)}, {"w": torch.zeros(4, 3)}]
    merged = merge_models("fisher", [a, b], Evidence(fisher=sure))
    torch.testing.assert_close(merged["w"], a["w"])
    torch.testing.assert_close(merged["b"], (a["b"] + b["b"]) / 2)


def test_slerp_keeps_the_length_of_equally_long_parents():
    a = {"w": torch.tensor([3.0, 0.0])}
    merged = merge_models("slerp", [a, {"w": torch.tensor([0.0, 3.0])}])["w"]
    torch.testing.assert_close(merged, torch.tensor([1.0, 1.0]) * 3 / 2**0.5)


def test_dare_is_right_on_average():
    start, a, b = states()
    draws = [
        merge_models("dare", [a, b], Evidence(start), MergeSettings(drop=0.5, seed=s))["w"]
        for s in range(400)
    ]
    whole = merge_models("task_arithmetic", [a, b], Evidence(start))["w"]
    assert float((torch.stack(draws).mean(0) - whole).abs().max()) < 0.5


def test_fisher_information_of_a_softmax_is_its_closed_form():
    """For logits w the Fisher information of w_i is p_i (1 - p_i): the variance of the indicator."""

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.0, 1.0, 2.0]))

        def forward(self, rows):
            return self.w.expand(*rows.shape, 3)

    rows = torch.zeros(4000, 2, dtype=torch.long)
    found = measure_fisher(Logits(), rows, torch.Generator().manual_seed(0))["w"]
    p = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    torch.testing.assert_close(found, p * (1 - p), rtol=0.1, atol=0.01)


def test_grams_are_what_maps_read():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.randn(7, 3)
    grams = measure_grams(model, x)
    torch.testing.assert_close(grams["0.weight"], x.T @ x / 7)
    assert grams["2.weight"].shape == (5, 5)


def test_what_cannot_be_merged_is_said():
    start, a, b = states()
    with pytest.raises(UsageError, match="no way to merge called 'avrage'"):
        merge_models("avrage", [a, b])
    with pytest.raises(UsageError, match="reads the parents' start"):
        merge_models("ties", [a, b])
    with pytest.raises(UsageError, match="not of one architecture: 1 weights are in one only, first 'c'"):
        merge_models("average", [a, {**b, "c": torch.zeros(1)}])
    with pytest.raises(UsageError, match=r"'w' is \(4, 3\) in one parent and \(2, 3\)"):
        merge_models("average", [a, {**b, "w": torch.zeros(2, 3)}])
    with pytest.raises(UsageError, match="NaN"):
        merge_models("average", [a, {**b, "b": b["b"] * torch.nan}])
    with pytest.raises(UsageError, match="two models or more"):
        merge_models("average", [a])
    with pytest.raises(UsageError, match="3 were given"):
        merge_models("slerp", [a, b, start])
