"""A small couple on the bundled digits, trained once for all tests of grafts that are pruned."""

import pytest

from digsite.data import load
from digsite.graft.core.task import Classes, Scorer, make_pools, split_images
from digsite.graft.subjects.couples import TrainingRecipe, train_couple
from digsite.graft.subjects.theatre import Theatre

CLASSES = Classes((0, 1, 2, 3), (2, 3), (4,), (5,))
RECIPE = TrainingRecipe(batch=64, least=150, epochs=1, lr=3e-3)


@pytest.fixture(scope="session")
def room() -> Theatre:
    data = split_images(load("digits"), 0)
    pair = train_couple(("simple", "simple"), data, CLASSES, 0, RECIPE, common_start=False)
    scorers = Scorer(data, CLASSES), Scorer(data, CLASSES, validation=True)
    return Theatre(("simple", "simple"), 0, data, CLASSES, pair, make_pools(data, CLASSES), *scorers)
