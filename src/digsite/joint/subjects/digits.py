"""The example that is always there: a small network trained on the bundled digits in a second."""

from functools import cache

from torch import nn

from digsite.data import load
from digsite.models import build
from digsite.models.configs.dense import MlpConfig
from digsite.train import Member, train_ensemble

SEED, STEPS = 7, 600


@cache
def trained_network() -> nn.Module:
    """An MLP of 64, 48, 32 and 10 neurons after 600 steps of Adam, from a fixed seed: `py:digsite.joint.subjects.digits:trained_network`."""
    digits = load("digits")
    config = MlpConfig.model_validate({"sizes": [64, 48, 32, 10]})
    member = Member(seed=SEED, lr=3e-3, steps=STEPS)
    images = (digits.x_train.flatten(1), digits.y_train)
    return train_ensemble(build(config, SEED), images, [member]).ensemble.module(0)
