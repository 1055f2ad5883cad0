"""Merges against their closed forms, and what must hold of every one of them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.graft.core.merges import (
    BY_TOKEN,
    FAMILY,
    Evidence,
    MergeSettings,
    join_vocabularies,
    merge_models,
    merge_vocabularies,
)
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


# Models whose tokens differ.


def speaking(seed, words, width=3):
    """A smallest language model over the given words: embeddings, one map, and what is said."""
    g = torch.Generator().manual_seed(seed)
    shapes = {
        "embed_tokens.weight": (len(words), width),
        "w": (width, width),
        "lm_head.weight": (len(words), width),
    }
    state = {name: torch.randn(*shape, generator=g) for name, shape in shapes.items()}
    return state, {word: i for i, word in enumerate(words)}


def speak_words(state, rows):
    return state["embed_tokens.weight"][rows] @ state["w"].T @ state["lm_head.weight"].T


def all_evidence(models, texts, seed=0):
    """Every kind of evidence of a start and two parents."""
    g = torch.Generator().manual_seed(seed)
    fisher = [{k: torch.rand(v.shape, generator=g) for k, v in m.items()} for m in models[1:]]
    grams = [{"w": torch.eye(3) * (i + 1), "lm_head.weight": torch.eye(3)} for i in range(2)]
    return Evidence(models[0], fisher, grams, speak_words, texts)


def reorder_rows(state, order):
    return {k: v[order] if k.endswith(BY_TOKEN) else v.clone() for k, v in state.items()}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_tokens_in_another_order_merge_as_if_they_were_in_one(method):
    """The second parent's rows are in another order; the merge equals the plain one to rounding."""
    words = ["a", "b", "c", "d", "e"]
    models = [speaking(i, words)[0] for i in range(3)]
    vocabulary, order = {w: i for i, w in enumerate(words)}, torch.tensor([3, 0, 4, 2, 1])
    texts = [torch.randint(0, 5, (6, 5), generator=torch.Generator().manual_seed(i)) for i in range(2)]
    plain = merge_models(method, models[1:], all_evidence(models, texts), MergeSettings(drop=0.0, steps=5))

    given_ = all_evidence(models, [texts[0], torch.argsort(order)[texts[1]]])
    given_ = replace(given_, fisher=[given_.fisher[0], reorder_rows(given_.fisher[1], order)])
    other = {words[i]: place for place, i in enumerate(order.tolist())}
    parents = [models[1], reorder_rows(models[2], order)]
    merged, joint = merge_vocabularies(
        method, parents, [vocabulary, other, vocabulary], given_, MergeSettings(drop=0.0, steps=5)
    )
    assert joint == vocabulary
    for name, weight in plain.items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_token_that_one_parent_has_keeps_its_row(method):
    """With a start that knows some tokens, none, or all of them, and rows of the owner exactly."""
    (one, v1), (two, v2), (start, v0) = (
        speaking(0, ["a", "b", "mine"]),
        speaking(1, ["his", "b", "a", "c"]),
        speaking(2, ["b", "a", "c", "nobody's"]),
    )
    texts = [torch.randint(0, 3, (6, 5), generator=torch.Generator().manual_seed(i)) for i in range(2)]
    given_ = all_evidence([start, one, two], texts)
    merged, joint = merge_vocabularies(method, [one, two], [v1, v2, v0], given_, MergeSettings(steps=5))
    assert list(joint) == ["a", "b", "mine", "his", "c", "nobody's"]
    for name in ("embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(merged[name][joint["mine"]], one[name][v1["mine"]])
        assert all(torch.equal(merged[name][joint[w]], two[name][v2[w]]) for w in ("his", "c"))
        assert not torch.allclose(merged[name][joint["a"]], one[name][v1["a"]], atol=1e-4)


def test_rows_of_shared_tokens_are_the_average_and_rows_without_a_token_go_by_place():
    (one, v1), (two, v2) = speaking(0, ["a", "b", "", "x"]), speaking(1, ["b", "a", "", "y"])
    del v1[""], v2[""]
    merged, joint = merge_vocabularies("average", [one, two], [v1, v2])
    for token, i, j in (("a", 0, 1), ("b", 1, 0), ("<row 2>", 2, 2)):
        mean = (one["lm_head.weight"][i] + two["lm_head.weight"][j]) / 2
        torch.testing.assert_close(merged["lm_head.weight"][joint[token]], mean)
    assert len(merged["lm_head.weight"]) == 5


def test_a_tied_embedding_stays_tied():
    (one, v1), (two, v2) = speaking(0, ["a", "b"]), speaking(1, ["c", "b", "a"])
    for state in (one, two):
        state["lm_head.weight"] = state["embed_tokens.weight"]
    joined, _, _ = join_vocabularies([one, two], [v1, v2])
    assert all(s["lm_head.weight"] is s["embed_tokens.weight"] for s in joined)
    merged, _ = merge_vocabularies("average", [one, two], [v1, v2])
    assert torch.equal(merged["lm_head.weight"], merged["embed_tokens.weight"])
    with pytest.raises(UsageError, match="tied in one of them only"):
        merge_vocabularies("average", [one, speaking(1, ["b", "a"])[0]], [v1, v1])


def test_vocabularies_that_do_not_fit_are_said():
    (one, v1), (two, v2) = speaking(0, ["a", "b"]), speaking(1, ["b", "a", "c"])
    for vocabularies, message in (
        ([v1], "1 vocabularies were given for 2 models"),
        ([v1, {"d": 0, "e": 1, "f": 2}], "no token in common"),
        ([v1, {"a": 3}], "'a' has the row 3, and the model has rows 0 to 2"),
        ([v1, {"a": 1, "b": 1}], "'a' and 'b' have the same row 1"),
    ):
        with pytest.raises(UsageError, match=message):
            merge_vocabularies("average", [one, two], vocabularies)
    with pytest.raises(UsageError, match="what was given has none"):
        merge_vocabularies("average", [one, two], [v1, {}])
    with pytest.raises(UsageError, match="two models or more, and 0 was given"):
        merge_vocabularies("average", [], [])
    beyond = Evidence(one, speak=speak_words, texts=[torch.tensor([[0, 2]])] * 2)
    with pytest.raises(UsageError, match="tokens 0 to 2, and its model has rows 0 to 1"):
        merge_vocabularies("imitation", [one, two], [v1, v2, v1], beyond)
    with pytest.raises(UsageError, match="embeddings of no rows"):
        merge_vocabularies("average", [{"w": torch.zeros(2)}] * 2, [v1, v1])
    with pytest.raises(UsageError, match="NaN"):
        merge_vocabularies("average", [one, {**two, "w": two["w"] * torch.nan}], [v1, v2])
    with pytest.raises(UsageError, match=r"weight 'w' is \(3, 3\)"):
        merge_vocabularies("average", [one, {**two, "w": torch.zeros(2, 2)}], [v1, v2])
