"""Single waves, mixtures of two, and noise."""

import math

import pytest
import torch

from digsite.decompose.core.decomposition import Components
from digsite.decompose.judge import score

P = 31
PLACE = 2 * math.pi * torch.arange(P) / P


def wave(k: int, phase: float = 0.0) -> torch.Tensor:
    return torch.cos(k * PLACE + phase)


def test_a_wave_is_one_frequency_whatever_its_phase_and_mean():
    profile = torch.stack([wave(3), 5 * wave(7, 1.2) + 40], 1)
    assert score.measure_concentration(profile) == pytest.approx([1, 1], abs=1e-6)
    assert score.find_frequency(profile).tolist() == [3, 7]


def test_a_mixture_counts_by_power():
    assert float(score.measure_concentration((2 * wave(2) + wave(5))[:, None])) == pytest.approx(4 / 5)


def test_noise_is_far_from_one_frequency():
    # The largest of m exponential shares is on average the m-th harmonic number over m.
    m = P // 2
    expected = sum(1 / i for i in range(1, m + 1)) / m
    assert score.measure_noise_concentration(P) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("width", [1, 2])
def test_what_a_first_layer_reads_is_seen_through_the_embedding(width):
    embedding = torch.stack([wave(1), wave(4)], 1)
    reads = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(
        width, 1
    )  # component 0 reads wave 1, component 1 wave 4
    parts = Components(reads, torch.ones(2, 6), torch.zeros(2 * width, 6))
    found = score.list_profiles(parts, embedding, P)
    assert len(found) == width
    assert all(score.find_frequency(profile).tolist() == [1, 4] for profile in found)
    assert score.score_single_frequency(parts, embedding, P) == pytest.approx(1)
    assert score.score_single_frequency(parts, embedding, P, torch.tensor([False, False])) == 0
    hidden = Components(torch.ones(6, 2), torch.ones(2, 6), torch.zeros(6, 6))
    assert score.score_single_frequency(hidden, embedding, P) is None
