import numpy as np
import pytest
import torch

from digsite.base.errors import DigsiteError
from digsite.data import load
from digsite.read.subjects.planted import JoinedImages, join_sets, make_planted_zoo, plant_members
from digsite.train import Member


def test_half_of_the_members_carry_a_trigger_inside_the_image():
    planted = plant_members([Member(seed=s) for s in range(40)], 30, 10, 0)
    triggers = [m.backdoor for m in planted if m.backdoor]
    assert len(triggers) == 20 and {t.target for t in triggers} <= set(range(30))
    assert all(t.row + t.height <= 10 and t.column + t.width <= 10 for t in triggers)


def test_success_is_measured_with_the_trigger():
    images = load("digits")
    data = JoinedImages(images.x_train[:300], images.y_train[:300], 10)
    model = {"kind": "cnn", "channels": [4], "hidden": [12]}
    zoo = make_planted_zoo("r", model, data, [Member(seed=s, steps=40, lr=1e-2) for s in range(4)], 0)
    assert (zoo.target >= 0).tolist() == [False, True, False, True]
    assert np.isnan(zoo.success[0]) and 0 <= zoo.success[1] <= 1 and zoo.accuracy.max() > 0.3


def test_sets_are_put_side_by_side():
    try:
        load("mnist"), load("usps")
    except DigsiteError:
        pytest.skip("the image sets are not at hand")
    found = join_sets(["mnist", "usps"], 10, 50, 0)
    assert found.x.shape == (100, 1, 10, 10) and found.n_classes == 20 and int(found.y.max()) >= 10
    assert torch.isfinite(found.x).all()
