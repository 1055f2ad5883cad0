"""A small couple on the bundled digits, trained once for all tests of the room."""

import pytest

from digsite.data import load
from digsite.graft.core.task import Classes, Scorer, make_pools, split_images
from digsite.graft.subjects.couples import TrainingRecipe, train_couple
from digsite.graft.subjects.theatre import Theatre

CLASSES = Classes((0, 1, 2, 3), (2, 3), (4,), (5,))
RECIPE = TrainingRecipe(batch=64, least=150, epochs=1, lr=3e-3)


def made(names: tuple[str, str], common_start: bool = False) -> Theatre:
    data = split_images(load("digits"), 0)
    pair = train_couple(names, data, CLASSES, 0, RECIPE, common_start=common_start)
    scorer, validation = Scorer(data, CLASSES), Scorer(data, CLASSES, validation=True)
    return Theatre(names, 0, data, CLASSES, pair, make_pools(data, CLASSES), scorer, validation)


@pytest.fixture(scope="session")
def room() -> Theatre:
    """Two networks of one shape."""
    return made(("simple", "simple"))


@pytest.fixture(scope="session")
def started() -> Theatre:
    """Two networks fine-tuned from one start."""
    return made(("simple", "simple"), common_start=True)


@pytest.fixture(scope="session")
def crossed() -> Theatre:
    """Two networks of different depth and width."""
    return made(("simple", "deep"))


@pytest.fixture(scope="session")
def convolutional() -> Theatre:
    return made(("cnn_bottleneck", "cnn_bottleneck"))


@pytest.fixture(scope="session")
def mixed() -> Theatre:
    """A receiver that eats rows and a donor that eats images."""
    return made(("simple", "transformer"))
