"""The same rows at every step, in evaluation mode, and each module's own mode afterwards."""

import torch
from torch import nn

from digsite.track.core import capture
from digsite.track.core.probe import Probe, as_probe, evaluating


def test_the_same_rows_every_time() -> None:
    probe = Probe(torch.randn(50, 4), n_rows=20)
    model = nn.Linear(4, 3)
    first, second = (probe.run(model, capture.targets(model))[0].outputs[""] for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (20, 3)


def test_evaluation_mode_and_back() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4))
    model[1].eval()
    with evaluating(model):
        assert not model.training and not model[0].training
    assert model.training and model[0].training and not model[1].training


def test_pairs_dicts_and_arguments() -> None:
    x, y = torch.randn(6, 4), torch.zeros(6, dtype=torch.long)
    assert as_probe((x, y)).labels is y
    assert as_probe((x, x)).labels is None
    assert as_probe({"input": x}).arguments == ((), {"input": x})
