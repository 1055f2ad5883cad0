import numpy as np
import pytest

from digsite.base.families import names
from digsite.read import engines
from digsite.read.config import READERS
from digsite.read.corpus import answerable, target
from digsite.read.readers.nwpa import Options


class Fixed:
    def __init__(self, answers):
        self.answers = answers

    def predict(self, population):
        return {"test_accuracy": self.answers}

    def represent(self, population):
        return self.answers[:, None]

    def state(self):
        return {}, {}


def test_weights_go_to_the_engine_that_is_right(sides):
    held = sides[1]
    tasks = answerable(held.labels, ["test_accuracy"])
    y = target(held, tasks[0])
    noise = np.random.default_rng(0).normal(size=len(y))
    found = engines.combine([Fixed(noise), Fixed(y + 0.01 * noise)], ["a", "b"], tasks, held)
    assert found.weights["test_accuracy"][1] >= 0.9
    assert np.allclose(sum(found.weights["test_accuracy"]), 1)


@pytest.mark.parametrize("kind", names(READERS))
def test_every_kind_survives_storage(kind, sides):
    """The contract of the family: fit, answer in the right shapes, represent, store, restore, answer the same."""
    train, test = sides[0], sides[1].take(np.arange(6))
    tasks = answerable(train.labels, ["test_accuracy", "init"])
    options = Options(epochs=1, width=16, hidden_dim=16)
    engine = engines.fit(kind, train, tasks, 0, options, test, engines.Parts())
    answers = engine.predict(test.population)
    assert answers["test_accuracy"].shape == (6,) and answers["init"].shape == (6, 4)
    assert np.allclose(answers["init"].sum(1), 1, atol=1e-5)
    assert len(engine.represent(test.population)) == 6
    tensors, meta = engine.state()
    back = engines.restore(kind, tensors, meta, tasks).predict(test.population)
    assert all(np.allclose(answers[k], back[k], atol=1e-6) for k in answers)
    assert engines.reads_weights_only(engine) == (kind not in ("probe", "hybrid"))
