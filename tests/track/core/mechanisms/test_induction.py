"""Prefix matching of a perfect and of a uniform head; copying of the identity and of noise."""

import pytest
import torch

from digsite.track.core.mechanisms import induction


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
    assert float(induction.prefix_matching(pattern, tokens)[0]) == pytest.approx(1)


def test_uniform_attention_scores_its_chance() -> None:
    tokens = induction.repeated_tokens(30, 5, 8, torch.Generator().manual_seed(0))
    uniform = (torch.ones(16, 16).tril() / torch.arange(1, 17)[:, None]).expand(5, 2, 16, 16)
    chance = induction.prefix_matching_chance(tokens)
    assert induction.prefix_matching(uniform, tokens).tolist() == pytest.approx([chance] * 2, rel=1e-5)
    assert chance < 0.2


def test_copying() -> None:
    assert induction.copying(torch.eye(12)) == pytest.approx(1)
    assert induction.copying(-torch.eye(12)) == pytest.approx(-1)
    noise = [
        induction.copying(torch.randn(40, 40, generator=torch.Generator().manual_seed(s))) for s in range(10)
    ]
    assert sum(noise) / 10 == pytest.approx(0, abs=0.15)


def test_a_head_that_copies_and_one_that_does_not() -> None:
    """With orthogonal tokens, a head that hands on what it sees copies, and one that writes minus that suppresses."""
    embed = torch.eye(8)
    value = torch.eye(8)
    output = torch.diag(torch.tensor([1.0] * 4 + [-1.0] * 4))
    circuits = induction.head_circuits(embed, value, output, embed, n_heads=2)
    assert [induction.copying(circuit) for circuit in circuits] == pytest.approx([1, -1])


def test_in_context_score() -> None:
    losses = torch.linspace(3, 1, 20).expand(4, 20)
    assert induction.in_context_score(losses, 0, 19) == pytest.approx(-2)
