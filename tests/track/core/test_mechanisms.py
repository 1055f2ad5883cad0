"""Entropy in shares of what is possible, whatever the mask, and never a softmax of probabilities."""

import math

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.track import (
    activation_selectivity,
    activation_sparsity,
    attention_entropy,
    attention_specialization,
    filter_similarity,
    weight_change,
)
from digsite.track.core import mechanisms
from digsite.track.core.mechanisms import filter_overlap, head_distinctness


def test_uniform_is_one_and_one_key_is_zero() -> None:
    uniform = torch.full((2, 1, 5, 5), 0.2)
    pointed = torch.eye(5).expand(2, 1, 5, 5)
    both = torch.cat([uniform, pointed], 1)
    assert attention_entropy(both).tolist() == pytest.approx([1.0, 0.0])
    special = attention_specialization(both)
    assert special.index == pytest.approx(1.0)
    assert special.mean == pytest.approx(0.5)


def test_causal_uniform_is_one_too() -> None:
    causal = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    assert attention_entropy(causal.expand(3, 2, 6, 6)).tolist() == pytest.approx([1.0, 1.0])


def test_against_the_definition() -> None:
    p = torch.softmax(torch.randn(2, 3, 4, 4), -1)
    truth = -(p * p.log()).sum(-1).mean((0, 2)) / math.log(4)
    assert torch.allclose(attention_entropy(p), truth, atol=1e-6)


def test_distinctness_of_equal_and_of_separate_heads() -> None:
    same = torch.full((1, 4, 8, 8), 1 / 8)
    apart = torch.zeros(1, 4, 8, 8)
    for head in range(4):
        apart[:, head, :, head] = 1
    assert head_distinctness(same) == pytest.approx(0)
    assert head_distinctness(apart) == pytest.approx(1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.randn(1, 1, 3, 3), "not attention probabilities"),
        (torch.ones(3, 3), "shape"),
        (torch.ones(1, 1, 1, 1), "more than one key"),
    ],
)
def test_bad_patterns(bad: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        attention_entropy(bad)


# Norms and ranks of an update, and sparsity without a scale.


def test_a_rank_one_update() -> None:
    before = torch.randn(6, 4, dtype=torch.float64)
    after = before + torch.outer(torch.ones(6), torch.tensor([3.0, 4, 0, 0]))
    found = weight_change(before, after)
    assert found.update_stable_rank == pytest.approx(1, abs=1e-4)
    assert found.l2_norm == pytest.approx(5 * 6**0.5)
    assert found.largest == 4
    assert found.relative == pytest.approx(5 * 6**0.5 / float(before.norm()))


def test_no_change() -> None:
    w = torch.randn(3, 3)
    found = weight_change(w, w)
    assert found.l2_norm == 0 and found.cosine == pytest.approx(1)
    with pytest.raises(UsageError, match="cannot be compared"):
        weight_change(w, torch.ones(2, 2))


def test_sparsity_is_free_of_scale() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    x[:500] = 0
    assert activation_sparsity(x) == activation_sparsity(1e-4 * x)
    assert 0.5 < activation_sparsity(x) < 0.6
    assert activation_sparsity(torch.zeros(5)) == 1


# Matching finds a permutation, and noise stays at its null.


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_permuted_filters_match() -> None:
    filters = torch.randn(12, 3, 3, 3, generator=draw())
    order = torch.randperm(12, generator=draw(1))
    found = filter_similarity(filters, 2 * filters[order], draw())
    assert found.matched == pytest.approx(1)
    assert found.in_place < 0.6
    assert found.p < 0.05


def test_noise_is_no_better_than_scrambled_filters() -> None:
    found = [
        filter_similarity(
            torch.randn(16, 2, 3, 3, generator=draw(s)),
            torch.randn(16, 2, 3, 3, generator=draw(99 + s)),
            draw(),
        )
        for s in range(10)
    ]
    assert all(f.matched > 0.3 for f in found)  # matching alone makes noise look alike
    assert sum(f.matched - f.null for f in found) / 10 == pytest.approx(0, abs=0.05)


def test_shapes_must_agree() -> None:
    with pytest.raises(UsageError, match="cannot be matched"):
        filter_similarity(torch.ones(2, 3), torch.ones(3, 3), draw())


# Prefix matching of a perfect and of a uniform head; copying of the identity and of noise.


def test_a_perfect_induction_head() -> None:
    tokens = torch.stack(
        [torch.randperm(10, generator=torch.Generator().manual_seed(s))[:6] for s in range(3)]
    )
    tokens = torch.cat([tokens, tokens], 1)
    pattern = torch.zeros(3, 1, 12, 12)
    pattern[:, :, range(6), range(6)] = 1
    pattern[:, :, range(6, 12), range(1, 7)] = (
        1  # each query of the second half looks behind its first occurrence
    )
    assert float(mechanisms.prefix_matching(pattern, tokens)[0]) == pytest.approx(1)


def test_uniform_attention_scores_its_chance() -> None:
    tokens = mechanisms.repeated_tokens(30, 5, 8, torch.Generator().manual_seed(0))
    uniform = (torch.ones(16, 16).tril() / torch.arange(1, 17)[:, None]).expand(5, 2, 16, 16)
    chance = mechanisms.prefix_matching_chance(tokens)
    assert mechanisms.prefix_matching(uniform, tokens).tolist() == pytest.approx([chance] * 2, rel=1e-5)
    assert chance < 0.2


def test_copying() -> None:
    assert mechanisms.copying_score(torch.eye(12)) == pytest.approx(1)
    assert mechanisms.copying_score(-torch.eye(12)) == pytest.approx(-1)
    noise = [
        mechanisms.copying_score(torch.randn(40, 40, generator=torch.Generator().manual_seed(s)))
        for s in range(10)
    ]
    assert sum(noise) / 10 == pytest.approx(0, abs=0.15)


def test_a_head_that_copies_and_one_that_does_not() -> None:
    """With orthogonal tokens, a head that hands on what it sees copies, and one that writes minus that suppresses."""
    embed = torch.eye(8)
    value = torch.eye(8)
    output = torch.diag(torch.tensor([1.0] * 4 + [-1.0] * 4))
    circuits = mechanisms.head_circuits(embed, value, output, embed, n_heads=2)
    assert [mechanisms.copying_score(circuit) for circuit in circuits] == pytest.approx([1, -1])


def test_in_context_score() -> None:
    losses = torch.linspace(3, 1, 20).expand(4, 20)
    assert mechanisms.in_context_score(losses, 0, 19) == pytest.approx(-2)


# Selectivity beside shuffles: nothing in noise, all in a perfect unit, whatever the scale.

LABELS = torch.arange(400) % 4


def test_a_perfect_unit_knows_the_class() -> None:
    found = activation_selectivity(torch.nn.functional.one_hot(LABELS).float()[:, :1] * 3, LABELS, draw())
    assert found.index == pytest.approx(1)
    truth = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found.information == pytest.approx(truth, rel=1e-3)
    assert found.information_null < 0.03
    assert found.p < 0.05


def test_noise_stays_at_its_null() -> None:
    found = activation_selectivity(torch.randn(400, 30, generator=draw()), LABELS, draw())
    assert found.information == pytest.approx(found.information_null, rel=0.25)
    assert found.index == pytest.approx(found.index_null, rel=0.25)


def test_free_of_scale() -> None:
    x = torch.rand(400, 5, generator=draw()) + LABELS[:, None] * 0.3
    small, large = (activation_selectivity(k * x, LABELS, draw()) for k in (1.0, 50.0))
    assert small.index == pytest.approx(large.index)
    assert small.information == pytest.approx(large.information)


def test_bad_labels() -> None:
    with pytest.raises(UsageError, match="3 labels"):
        activation_selectivity(torch.ones(4, 2), LABELS[:3], draw())
    with pytest.raises(UsageError, match="two classes"):
        activation_selectivity(torch.ones(4, 2), torch.zeros(4, dtype=torch.long), draw())


def test_overlap_of_orthogonal_random_and_equal_filters() -> None:
    """Closed forms: 0, 1 in expectation, and the number of weights of a filter."""
    assert filter_overlap(torch.eye(8, 12).reshape(8, 3, 2, 2)) == pytest.approx(0.0, abs=1e-12)
    assert filter_overlap(torch.ones(5, 3, 2, 2)) == pytest.approx(12.0)
    drawn = torch.randn(200, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert filter_overlap(drawn) == pytest.approx(1.0, abs=0.05)
