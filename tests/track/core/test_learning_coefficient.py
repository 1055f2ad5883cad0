"""Learning coefficients of models whose value is known, and models that cannot be sampled."""

import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.track.core.learning_coefficient import ChainSettings, estimate_coefficient, split_r_hat
from digsite.track.judge.linear_coefficient import (
    build_linear_network,
    draw_white_inputs,
    solve_linear_coefficient,
    unit_noise_loss,
)

FEW = ChainSettings(temperature=1e4, chains=8, steps=800, burn=200)


def estimate(model: nn.Module, width: int, **changes: object):
    x = draw_white_inputs(32, width, seed=1)
    with torch.no_grad():
        y = model(x)
    return estimate_coefficient(model, (x, y), loss=unit_noise_loss, settings=FEW, **changes)


def test_a_regular_model_has_half_its_parameters() -> None:
    """Exact for a quadratic loss: the sampler's positions have no error there."""
    found = estimate(nn.Linear(4, 3, bias=False), 4)
    assert found.value == pytest.approx(6, rel=0.06) and not found.diverged and not found.warnings
    assert found.low < 6 < found.high


def test_a_deep_linear_network_has_the_closed_form() -> None:
    truth = solve_linear_coefficient([4, 3, 4], 1).value
    found = estimate(build_linear_network([4, 3, 4], 1, seed=0), 4)
    assert found.value == pytest.approx(truth, rel=0.15) and truth < 0.65 * found.parameters / 2


def test_without_momentum_a_regular_model_too() -> None:
    found = estimate(nn.Linear(3, 2, bias=False), 3, momentum=False)
    assert found.value == pytest.approx(3, rel=0.15)


def test_batches_and_any_module() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2))
    x = torch.randn(60, 2)
    y = model(x).argmax(-1)
    before = [p.clone() for p in model.parameters()]
    found = estimate_coefficient(model, (x, y), batch=20, chains=4, steps=40, burn=20, localization=100.0)
    assert found.temperature == pytest.approx(60 / 4.0943, rel=1e-3) and found.value == found.value
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_weights_that_are_no_minimum_are_said_to_be_none() -> None:
    model = nn.Linear(4, 3, bias=False)
    x = draw_white_inputs(32, 4, seed=1)
    found = estimate_coefficient(model, (x, torch.zeros(32, 3)), loss=unit_noise_loss, settings=FEW)
    assert found.value < 0 and "no minimum, train on" in found.warnings[0]


class Rounded(nn.Module):
    """Scores to whole numbers: a network with discrete outputs."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.round()


def test_models_that_cannot_be_sampled() -> None:
    frozen = nn.Linear(4, 3).requires_grad_(False)
    with pytest.raises(UsageError, match="without trained parameters cannot be sampled"):
        estimate(frozen, 4)
    with pytest.raises(UsageError, match="has no slope in its weights"):
        estimate(nn.Sequential(nn.Linear(4, 3), Rounded()), 4)
    broken = nn.Linear(4, 3)
    nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(UsageError, match="The loss at these weights is nan"):
        estimate(broken, 4)
    with pytest.raises(UsageError, match="a row for each of two or more examples"):
        estimate_coefficient(nn.Linear(2, 2), (torch.zeros(0, 2), torch.zeros(0, 2)))
    with pytest.raises(UsageError, match="needs stored examples"):
        estimate_coefficient(nn.Linear(2, 2), lambda step: (torch.zeros(1, 2), torch.zeros(1, 2)))


def test_r_hat_of_chains_that_agree_and_that_do_not() -> None:
    draw = torch.Generator().manual_seed(0)
    same = torch.randn(6, 400, generator=draw).double()
    assert split_r_hat(same) < 1.02
    assert split_r_hat(same + 3 * torch.arange(6)[:, None]) > 2
