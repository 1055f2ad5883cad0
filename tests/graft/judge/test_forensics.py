import pytest
import torch

from digsite.graft.core.nets import make_plain_net
from digsite.graft.judge.forensics import draw_rows, inspect, measure_auroc, plant_rows, score_foreignness


def grown(seed: int, alive: torch.Tensor, n: int = 60) -> torch.Tensor:
    """Rows that are large where inputs are alive."""
    return torch.randn(n, len(alive), generator=torch.Generator().manual_seed(seed)) * (0.05 + alive)


@pytest.fixture
def nets():
    draw = torch.Generator().manual_seed(9)
    alive = [[(torch.rand(n, generator=draw) < 0.4).float() for n in (40, 60, 60)] for _ in range(2)]
    weights = [
        [grown(10 * who + i, a, 60 if i < 2 else 5) for i, a in enumerate(side)]
        for who, side in enumerate(alive)
    ]
    return [(w, [torch.zeros(len(m)) for m in w]) for w in weights]


def test_planted_rows_stand_out_and_native_ones_do_not(nets):
    ids = draw_rows(nets[0][0], 1 / 12, torch.Generator().manual_seed(0))
    reports = inspect(make_plain_net(*plant_rows(*nets, ids)))
    for report, planted in zip(reports, ids):
        assert measure_auroc(report.scores, planted) > 99
        assert len(set(report.flagged) & set(planted.tolist())) >= 4 and len(planted) == 5
        assert len(set(report.flagged) - set(planted.tolist())) <= 1
    assert sum(len(r.flagged) for r in inspect(make_plain_net(*nets[0]))) <= 1


def test_the_size_of_a_row_does_not_matter(nets):
    w = nets[0][0][0].clone()
    scaled = w * torch.linspace(0.1, 10, len(w))[:, None]
    torch.testing.assert_close(score_foreignness(w), score_foreignness(scaled), atol=1e-3, rtol=1e-3)


def test_half_a_plant_is_a_mean(nets):
    ids = draw_rows(nets[0][0], 0.1, torch.Generator().manual_seed(0))
    weights, biases = plant_rows(*nets, ids, share=0.5)
    torch.testing.assert_close(weights[0][ids[0]], (nets[0][0][0][ids[0]] + nets[1][0][0][ids[0]]) / 2)
    assert len(biases) == 3


def test_tiny_layers_have_no_opinion():
    assert score_foreignness(torch.randn(2, 9)).tolist() == [0, 0]


def test_auroc_of_chance():
    assert measure_auroc(torch.zeros(10), torch.tensor([1, 2])) == 50


def test_first_rows_that_read_other_directions_stand_out():
    """All inputs are alive in both networks and every row is as large: only what the rows have in common differs."""
    g = torch.Generator().manual_seed(3)
    noise = torch.randn(80, 50, generator=g)
    ours, theirs = (torch.randn(4, 50, generator=g) for _ in range(2))
    weight = noise + torch.randn(80, 4, generator=g) @ ours
    planted = torch.arange(3, 80, 16)
    weight[planted] = noise[planted] + torch.randn(5, 4, generator=g) @ theirs
    assert measure_auroc(score_foreignness(weight, first=True), planted) > 95
    assert not (score_foreignness(weight + 0, first=True)[:3] > 7).any()
