import numpy as np
import pytest

from digsite.read.core import feature_engine, trees
from digsite.read.core.corpus import find_tasks
from digsite.read.core.reader import train_reader


def test_function_tasks_of_several_kinds_use_only_blind_features(sides):
    tasks = find_tasks(sides[0].labels, ["test_accuracy", "optimizer"])
    engine = feature_engine.fit_features(sides[0], ["statistics", "neurons"], tasks, 0, max_iter=5)
    assert engine.kinds == {"function": ("neurons",), "recipe": ("statistics", "neurons")}


def test_labels_decide_what_counts_as_quality(sides):
    corpus = sides[0]
    quality = feature_engine.weigh_by_accuracy(corpus)
    best = int(np.argmax(corpus.labels["test_accuracy"]))
    assert quality[best] == quality.max() > 0 and (quality == 0).any()


def test_shuffled_labels_teach_nothing(sides):
    """A reader of labels that do not belong to their networks must rank unseen ones by chance."""
    train, test = sides
    rng = np.random.default_rng(0)
    taus = []
    for _ in range(3):
        labels = train.labels.assign(test_accuracy=rng.permutation(train.labels["test_accuracy"].to_numpy()))
        reader = train_reader(type(train)(train.population, labels), "neurons", ["test_accuracy"])
        from digsite.read.core.corpus import read_labels
        from digsite.read.core.metrics import score_answers

        taus.append(
            score_answers(
                reader.tasks[0], read_labels(test, reader.tasks[0]), reader.answers(test)["test_accuracy"]
            )["tau"]
        )
    assert abs(np.mean(taus)) < 0.25


@pytest.mark.parametrize("kind", ["statistics", "pca", "consensus"])
def test_a_class_that_training_never_showed_keeps_its_column(sides, kind):
    """`nwa-small-cnn --quick` made its zoo and died here: a class of the calibration networks was in no training one."""
    train, test = sides
    (task,) = find_tasks(train.labels, ["missing_class"])
    gone = next(c for c in task.classes if (train.labels["missing_class"] == c).any() and c != "none")
    rest = train.take(np.flatnonzero(train.labels["missing_class"] != gone))
    engine = feature_engine.fit_features(
        rest, [kind], [task], 0, **({} if kind == "pca" else {"max_iter": 3})
    )
    answer = engine.predict(test.population)["missing_class"]
    assert answer.shape == (len(test), len(task.classes)) and np.isfinite(answer).all()
    assert np.allclose(answer.sum(1), 1)
    if kind == "statistics":
        assert (answer[:, task.classes.index(gone)] == 0).all()
    again = feature_engine.restore_features(*engine.state(), [task])
    assert np.allclose(again.predict(test.population)["missing_class"], answer, atol=1e-5)


def test_columns_of_classes_stand_where_they_belong():
    widened = trees.widen_classes(np.array([[0.2, 0.8]]), (1, 3), 4)
    assert widened.tolist() == [[0.0, 0.2, 0.0, 0.8]]
    assert trees.widen_classes(np.array([[0.2, 0.8]]), (0, 1), 2).tolist() == [[0.2, 0.8]]


def test_the_odd_output_is_found_and_none_is_an_answer():
    rng = np.random.default_rng(0)
    described = rng.normal(size=(300, 5, 2))
    target = rng.integers(0, 6, 300).astype(float)
    rows = np.flatnonzero(target < 5)
    described[rows, target[rows].astype(int), 0] += 5
    forest = feature_engine.fit_per_output(described[:200], target[:200], 0)
    found = feature_engine.predict_per_output(forest, described[200:])
    assert found.shape == (100, 6) and np.allclose(found.sum(1), 1)
    assert (found.argmax(1) == target[200:]).mean() > 0.85


def test_outputs_are_described_in_their_order(corpus):
    described = feature_engine.tabulate_outputs(corpus.population, {})
    assert described.shape[:2] == (len(corpus), 10) and np.isfinite(described).all()
