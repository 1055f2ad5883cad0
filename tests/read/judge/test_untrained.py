import pytest
import torch

from digsite.data import load
from digsite.models import build, parse
from digsite.read.judge.untrained import check_matrix, check_training
from digsite.train import Ensemble, Member

MLP = {"kind": "mlp", "sizes": [64, 32, 16, 10]}


def _checked(steps, init="default"):
    images = load("digits")
    members = [Member(seed=s, init=init, lr=2e-3, steps=steps) for s in range(8)]
    ensemble = Ensemble(build(parse(MLP)), (images.x_train, images.y_train), members)
    while not ensemble.done:
        ensemble.step()
    return [check_training({k: t[i] for k, t in ensemble.params.items()}) for i in range(8)]


@pytest.mark.parametrize("init", ["default", "glorot", "truncated", "orthogonal"])
def test_random_weights_look_untrained_whatever_their_distribution(init):
    found = _checked(0, init)
    assert sum(f.trained for f in found) <= 1
    assert "untrained" in next(f for f in found if not f.trained).answer


def test_a_short_training_is_seen():
    found = _checked(100)
    assert all(f.trained for f in found) and "has been trained" in found[0].answer


def test_matrices_that_say_nothing():
    assert check_matrix("w", torch.randn(3, 50)) is None and check_matrix("w", torch.ones(9, 9)) is None
    assert check_training({"b": torch.zeros(4)}).p == 1.0


def test_the_scale_does_not_matter():
    w = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    assert check_matrix("w", w).p == pytest.approx(check_matrix("w", 1e3 * w).p, rel=1e-3)
