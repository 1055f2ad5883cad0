import numpy as np
import pandas as pd

from digsite.read.core.corpus import find_tasks
from digsite.read.judge import baselines


def test_constant_scores_nothing(sides):
    train, test = sides
    for task in find_tasks(train.labels, ["test_accuracy", "optimizer"]):
        found = baselines.answer_constant(task, train, len(test))
        assert np.ptp(found, axis=0).max() == 0
        if task.kind == "classification":
            assert np.isclose(found.sum(1), 1).all()


def test_a_task_does_not_see_its_own_column(sides, monkeypatch):
    seen = {}
    monkeypatch.setattr(baselines, "_code_column", lambda c: seen.setdefault(c.name, np.zeros(len(c))))
    train, test = sides
    (task,) = find_tasks(train.labels, ["log_lr"])
    baselines.hyper_parameters(task, train, test, 0)
    assert "lr" not in seen and "optimizer" in seen


def test_more_labels_rank_better_and_worth_inverts_them():
    rng = np.random.default_rng(0)
    accuracy = rng.uniform(0.3, 0.95, 200)
    correct = rng.random((200, 256)) < accuracy[:, None]
    taus = baselines.labeled_images(correct, accuracy, rng)
    assert list(taus) == [2, 4, 8, 16, 32, 64, 128] and taus[128] > taus[8] > taus[2]
    assert np.isclose(baselines.count_worth(taus[16], taus), 16)
    assert baselines.count_worth(-0.3, taus) == 0


def test_networks_really_run_on_images(zoo, corpus):
    from digsite.data import load

    images = load("digits")
    few = corpus.take(np.arange(6))
    correct = baselines.mark_correct(few.population, images.x_test[:100], images.y_test[:100])
    module = zoo.module(int(few.labels["member"][3]))
    expected = (module(images.x_test[:100]).argmax(1) == images.y_test[:100]).numpy()
    assert np.array_equal(correct[3], expected)


def test_ceiling_where_sgd_and_momentum_share_some_rates():
    effective = np.tile(np.linspace(-2, 0, 201), 2)
    kind = np.repeat(["sgd", "momentum"], 201)
    effective[kind == "momentum"] += 1  # the two share half of their effective rates
    labels = pd.DataFrame(
        {"optimizer": kind, "log_effective_lr": effective, "log_lr": effective - (kind == "momentum")}
    )
    found = baselines.momentum_ceiling(labels)
    assert abs(found["optimizer/accuracy"] - 0.75) < 0.01
    assert abs(found["log_lr/r2"] - (1 - 0.5 * 0.25 / labels["log_lr"].var())) < 0.02
    assert baselines.momentum_ceiling(labels[kind == "sgd"]) == {}
