import numpy as np
import torch

from digsite.read.core.corpus import find_tasks, read_labels
from digsite.read.core.population import FeatureTable
from digsite.read.core.readers import probe
from digsite.read.core.tasks import ReadTask
from digsite.read.judge import comparison
from digsite.read.judge.comparison import find_leaks


def _answers(test, tasks):
    y = read_labels(test, tasks[0])
    rng = np.random.default_rng(0)
    return {
        "statistics": {"test_accuracy": rng.normal(size=len(y))},
        "oracle": {"test_accuracy": y},
        "constant": {"test_accuracy": np.full(len(y), y.mean())},
    }


def test_all_methods_are_scored_on_the_same_networks(sides):
    test = sides[1]
    tasks = tuple(find_tasks(test.labels, ["test_accuracy"]))
    found = comparison.compare_readers(tasks, _answers(test, tasks), test, 0, 30)
    assert found.scores["oracle"]["test_accuracy"]["tau"].value > 0.999
    assert found.scores["constant"]["test_accuracy"]["tau"].value == 0
    assert found.differences["oracle"]["test_accuracy"].low > 0.3
    table = comparison.score_table(found)
    assert set(table["method"]) == {"statistics", "oracle", "constant"}


def test_dead_networks_are_no_survivors(sides):
    alive = comparison.find_survivors(sides[1])
    accuracy = sides[1].labels["test_accuracy"].to_numpy()
    assert (accuracy[alive] >= 0.2).all() and (accuracy[~alive] < 0.2).all()


def test_shuffled_pixels_keep_the_function_on_shuffled_images(sides):
    test = sides[1].take(np.arange(4))
    shifted = comparison.shuffled_inputs(test, 3)
    x = torch.rand(6, 1, 8, 8)
    order = torch.from_numpy(
        np.random.default_rng(comparison.derive_seed(3, "shuffled-pixels")).permutation(64)
    )
    for a, b in zip(test.population.groups, shifted.population.groups):
        shuffled = x.flatten(1)[:, order].reshape(6, 1, 8, 8)
        assert torch.allclose(probe.run_group(a, x), probe.run_group(b, shuffled), atol=1e-5)


def test_coverage_counts():
    rows = comparison.coverage_table(
        (ReadTask("x", "regression"),),
        "m",
        {"x": np.zeros(4)},
        {"x": 1.0},
        {"x": np.array([0.5, 2, -0.2, np.nan])},
    )
    assert rows[0]["coverage"] == 2 / 3 and rows[0]["n"] == 3


def test_few_labels_run_the_networks(sides):
    taus, how = comparison.rank_by_few_labels(sides[1], 0)
    assert how == "networks run on test images" and taus[128] > taus[2]


def test_planted_leaks_are_found_and_honest_columns_are_not():
    rng = np.random.default_rng(0)
    y, kind = rng.normal(size=100), rng.integers(0, 2, 100).astype(float)
    tasks = [ReadTask("number", "regression"), ReadTask("kind", "classification", classes=("a", "b"))]
    honest = FeatureTable(
        ("noisy", "other"), np.column_stack([y + 0.3 * rng.normal(size=100), rng.normal(size=100)])
    )
    assert find_leaks(honest, {"number": y, "kind": kind}, tasks) == []
    leaky = FeatureTable(("cubed", "coded"), np.column_stack([-(y**3), 5 - kind]))
    assert {(k.task, k.column) for k in find_leaks(leaky, {"number": y, "kind": kind}, tasks)} == {
        ("number", "cubed"),
        ("kind", "coded"),
    }
