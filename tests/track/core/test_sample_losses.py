"""Clusters of samples with planted breakthroughs, none without, and changes along directions that add up."""

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from torch import nn
from torch.nn import functional as F

from digsite.track.core.sample_losses import cluster_samples, main_directions, split_losses
from digsite.train.layout import Layout


def planted(seed: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses that fall at one of several times, which a smooth mean hides."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, groups, 150)
    times = np.linspace(8, 32, groups)[truth]
    losses = 1 / (1 + np.exp((np.arange(40)[:, None] - times) / 1.5)) + 0.03 * rng.standard_normal((40, 150))
    return np.diff(losses, axis=0), truth


def test_planted_breakthroughs_are_found() -> None:
    changes, truth = planted(0, 4)
    found = cluster_samples(changes, np.random.default_rng(1))
    assert found.count == 4 and adjusted_rand_score(truth, found.labels) > 0.95
    assert found.p == 0.01 and found.explained > found.null
    assert list(found.halves) == sorted(found.halves) and abs(found.halves[0] - 8) <= 2


def test_samples_that_fall_together_are_no_clusters() -> None:
    ps = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        changes = -np.exp(-np.arange(40) / 9)[:, None] + 0.1 * rng.standard_normal((40, 150))
        ps.append(cluster_samples(changes, rng, draws=39).p)
    assert min(ps) > 0.05


def test_changes_along_all_directions_are_the_whole_change() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    layout = Layout.of(model)
    rows = layout.row(model) + 0.02 * torch.randn(5, layout.width, dtype=torch.float64).cumsum(0)
    x, y = torch.randn(12, 3, dtype=torch.float64), torch.randint(0, 2, (12,))

    def views(row: torch.Tensor) -> dict[str, torch.Tensor]:
        return {n: v[0] for n, v in layout.views(row[None]).items()}

    losses, along = split_losses(
        model, rows, views, x, y, lambda o, t: F.cross_entropy(o, t, reduction="none"), 4
    )
    directions = main_directions(rows, 4)
    assert torch.allclose(directions @ directions.T, torch.eye(4, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(along.sum(0), losses[1:] - losses[:-1], atol=5e-4)
