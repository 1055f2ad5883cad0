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
    texts = [torch.randint(0, n, (6, 5), generator=g) for _ in range(2)]
    return Evidence(states(seed)[0], fisher, [{"w": a.T @ a / 50} for a in x], speak, texts), x


def speak(state, rows):
    """The smallest language model: what follows a token is told by that token alone."""
    return state["w"].T[rows] + state["b"]


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


def test_imitation_gives_each_parent_the_rows_in_which_it_learned_something():
    """One parent learned what follows 0, the other what follows 1; each also moved the other's rows at random."""
    g = torch.Generator().manual_seed(0)
    start = {"w": torch.zeros(4, 3), "b": torch.zeros(4)}
    first, second = ({k: v.clone() for k, v in start.items()} for _ in range(2))
    first["w"][2, 0], second["w"][3, 1] = 6.0, 6.0
    first["w"][3, 1], second["w"][2, 0] = -0.5, -0.5
    texts = [torch.randint(0, 2, (64, 6), generator=g) for _ in range(2)]
    given_ = Evidence(start, speak=speak, texts=texts)
    merged = merge_models("imitation", [first, second], given_, MergeSettings(steps=80, rate=0.1))
    gaps = {
        token: [
            float((speak(s, torch.tensor([[token]])) - speak(p, torch.tensor([[token]]))).abs().max())
            for s in (merged, merge_models("average", [first, second]))
        ]
        for token, p in ((0, first), (1, second))
    }
    assert all(learned < 1.5 < average for learned, average in gaps.values()), gaps


def test_imitation_wants_a_text_of_every_parent():
    start, a, b = states()
    with pytest.raises(UsageError, match="1 were given for 2 parents"):
        merge_models("imitation", [a, b], Evidence(start, speak=speak, texts=[torch.zeros(2, 3, dtype=int)]))
    with pytest.raises(UsageError, match="reads the parents' texts"):
        merge_models("imitation", [a, b], Evidence(start, speak=speak))


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
    with pytest.raises(UsageError, match=r"'w' is \(4, 3\) in one of the parents and \(2, 3\)"):
        merge_models("average", [a, {**b, "w": torch.zeros(2, 3)}])
    with pytest.raises(UsageError, match="NaN"):
        merge_models("average", [a, {**b, "b": b["b"] * torch.nan}])
    with pytest.raises(UsageError, match="two models or more"):
        merge_models("average", [a])
    with pytest.raises(UsageError, match="3 were given"):
        merge_models("slerp", [a, b, start])


def test_a_tied_head_is_merged_with_a_tied_head_only():
    _, a, b = states()
    square = torch.randn(4, 4)
    tied, untied = {**a, "in": square, "out": square}, {**b, "in": square.clone(), "out": square.clone()}
    with pytest.raises(UsageError, match="'in' is tied to another weight in one only"):
        merge_models("average", [tied, untied])
    assert set(merge_models("average", [tied, tied])) == set(tied)


def test_a_start_of_another_kind_is_said():
    """Before, only the weights that the start has were merged, without a word."""
    start, a, b = states()
    with pytest.raises(UsageError, match="start and parents are not of one architecture"):
        merge_models("ties", [a, b], Evidence({"w": start["w"]}))
    with pytest.raises(UsageError, match="start and parents holds NaN"):
        merge_models("ties", [a, b], Evidence({**start, "b": start["b"] * torch.nan}))


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_settings_are_finite_numbers(number):
    with pytest.raises(UsageError, match="'scale' is .* not a finite number"):
        MergeSettings(scale=number)
