"""The five numbers where the answer is known: a rotated copy aligns exactly, unrelated clouds do not."""

import pytest
import torch

from digsite.graft.judge.alignment import measure_alignment

DRAW = torch.Generator().manual_seed(0)
LABELS = torch.arange(300) % 2 + 2
CENTERS = torch.eye(12)[:3] * 6


def make_features(classes: torch.Tensor) -> torch.Tensor:
    return CENTERS[classes - 2] + 0.5 * torch.randn(len(classes), 12, generator=DRAW)


def centers_of(features: torch.Tensor, rotation: torch.Tensor) -> dict[int, torch.Tensor]:
    means = {c: features[c == LABELS].mean(0) for c in (2, 3)}
    return {c: m @ rotation for c, m in means.items()} | {4: CENTERS[2] @ rotation}


def test_a_rotated_copy_aligns_exactly_and_places_the_class_where_it_is():
    mine = make_features(LABELS)
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=DRAW)).Q
    found = measure_alignment(mine, mine @ rotation, mine, LABELS, centers_of(mine, rotation), 4)
    assert found.error < 1e-4 and found.cosine > 1 - 1e-4
    spread = 0.5 * 12**0.5
    assert found.nearest == pytest.approx(6 * 2**0.5 / spread, rel=0.05)
    assert found.farthest == pytest.approx(found.nearest, rel=0.05)
    assert found.angle == pytest.approx(60, abs=3)  # the three centers are an equilateral triangle


def test_wrongly_paired_images_align_badly():
    mine = make_features(LABELS)
    shuffled = mine[torch.randperm(300, generator=DRAW)]
    found = measure_alignment(mine, shuffled, mine, LABELS, centers_of(mine, torch.eye(12)), 4)
    assert found.error > 0.5 and abs(found.cosine) < 0.5


def test_unequal_widths_are_cut_to_what_both_have():
    mine, wide = make_features(LABELS), torch.randn(300, 40, generator=DRAW)
    found = measure_alignment(mine, wide, mine, LABELS, {c: wide[LABELS == 2].mean(0) for c in (2, 3, 4)}, 4)
    assert 0 <= found.free <= 1 and found.nearest <= found.farthest
