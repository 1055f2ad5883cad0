import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.base.families import list_members
from digsite.read.config import READERS
from digsite.read.core import engines
from digsite.read.core.corpus import corpus_of, find_tasks, read_labels, with_earlier
from digsite.read.core.readers import nwpa
from digsite.read.core.readers.nwpa import GraphOptions


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
    tasks = find_tasks(held.labels, ["test_accuracy"])
    y = read_labels(held, tasks[0])
    noise = np.random.default_rng(0).normal(size=len(y))
    found = engines.combine_engines([Fixed(noise), Fixed(y + 0.01 * noise)], ["a", "b"], tasks, held)
    assert found.weights["test_accuracy"][1] >= 0.9
    assert np.allclose(sum(found.weights["test_accuracy"]), 1)


@pytest.mark.parametrize("kind", list_members(READERS))
def test_every_kind_survives_storage(kind, sides):
    """The contract of the family: fit, answer in the right shapes, represent, store, restore, answer the same."""
    train, test = sides[0], sides[1].take(np.arange(6))
    tasks = find_tasks(train.labels, ["test_accuracy", "init"])
    options = GraphOptions(epochs=1, width=16, hidden_dim=16)
    engine = engines.fit_engine(kind, train, tasks, 0, options, test, engines.SharedParts())
    answers = engine.predict(test.population)
    assert answers["test_accuracy"].shape == (6,) and answers["init"].shape == (6, 4)
    assert np.allclose(answers["init"].sum(1), 1, atol=1e-5)
    assert len(engine.represent(test.population)) == 6
    tensors, meta = engine.state()
    back = engines.restore_engine(kind, tensors, meta, tasks).predict(test.population)
    assert all(np.allclose(answers[k], back[k], atol=1e-6) for k in answers)
    assert engines.reads_weights_only(engine) == (kind not in ("probe", "hybrid", "strokes"))


def test_a_task_of_its_own_is_answered_by_the_mean_of_its_networks(sides):
    train, test = sides[0], sides[1].take(np.arange(6))
    tasks = find_tasks(train.labels, ["test_accuracy", "label_noise", "init"])
    options = GraphOptions(epochs=1, width=16, hidden_dim=16, own=("test_accuracy",), nets=2)
    engine = engines.fit_engine("nwpa", train, tasks, 0, options, test, engines.SharedParts())
    assert [[t.name for t in b.net.tasks] for b in engine.branches] == [
        ["test_accuracy"],
        ["test_accuracy"],
        ["label_noise"],
        ["init"],
    ]
    each = [nwpa.predict_branch(b, test.population)[0]["test_accuracy"] for b in engine.branches[:2]]
    found = engine.predict(test.population)["test_accuracy"]
    assert not np.allclose(each[0], each[1])
    assert np.allclose(found, (each[0] + each[1]) / 2)
    back = engines.restore_engine("nwpa", *engine.state(), tasks).predict(test.population)["test_accuracy"]
    assert np.allclose(found, back, atol=1e-6)


def test_a_graph_network_learns_from_those_whose_answer_is_known(sides, zoo):
    grown = with_earlier(sides[0], [corpus_of(zoo, 0)])
    tasks = {t.name: t for t in find_tasks(grown.labels, ["test_accuracy", "init"])}
    assert len(engines._keep_labeled(grown, [tasks["init"]])) == len(sides[0])
    assert len(engines._keep_labeled(grown, list(tasks.values()))) == 2 * len(sides[0])


def test_graph_networks_of_an_older_form_are_a_sentence(sides):
    tasks = find_tasks(sides[0].labels, ["test_accuracy"])
    options = GraphOptions(epochs=1, width=16, hidden_dim=16)
    tensors, meta = engines.fit_engine(
        "nwpa", sides[0], tasks, 0, options, sides[1], engines.SharedParts()
    ).state()
    with pytest.raises(UsageError, match="older form"):
        engines.restore_engine("nwpa", tensors, {k: v for k, v in meta.items() if k != "form"}, tasks)
