import numpy as np
import pandas as pd
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.read.core.corpus import (
    corpus_of,
    find_tasks,
    read_labels,
    refuse_small,
    task_columns,
    with_earlier,
)
from digsite.zoo import Zoo


def test_weights_and_labels_stay_together(zoo, corpus):
    rows = [5, 40, 7]
    taken = corpus.take(rows)
    for place, row in enumerate(rows):
        number = int(corpus.labels["member"][row])
        stored = zoo.member(number).tensors["layers.0.weight"]
        group = next(g for g in taken.population.groups if place in g.rows)
        found = group.tensors["layers.0.weight"][list(group.rows).index(place)]
        assert torch.equal(found, stored)
        assert taken.labels["test_accuracy"][place] == zoo.labels["test_accuracy"].iloc[number]


def test_task_columns_are_what_they_say():
    table = pd.DataFrame(
        {"lr": [0.01], "fraction": [0.5], "missing_class": [-1], "label_noise": [0.0], "backdoor": [np.nan]}
    )
    found = task_columns(table)
    assert (
        found["log_lr"][0] == -2
        and found["train_fraction"][0] == "0.5"
        and found["missing_class"][0] == "none"
    )
    assert found["noisy_labels"][0] == "no" and pd.isna(found["backdoor"][0])


def test_every_class_of_a_zoo_has_a_number(corpus):
    (missing,) = find_tasks(corpus.labels, ["missing_class"])
    assert missing.classes[-1] == "none" and len(missing.classes) == 11
    y = read_labels(corpus, missing)
    assert np.isfinite(y).all() and y.max() == 10


def test_ambiguous_backdoors_are_left_out(corpus):
    (backdoor,) = find_tasks(corpus.labels, ["backdoor"])
    y = read_labels(corpus, backdoor)
    weak = corpus.labels["poisoned"] & ~(corpus.labels["attack_success"] > 0.8)
    assert np.array_equal(np.isnan(y), weak.to_numpy())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda labels: find_tasks(labels, ["family"]), "the same for every network"),
        (
            lambda labels: find_tasks(labels.drop(columns="optimizer"), ["optimizer"]),
            "no labels for 'optimizer'",
        ),
        (lambda labels: refuse_small(29, "train a reader"), "29 networks are too few"),
    ],
)
def test_refusals(corpus, call, words):
    with pytest.raises(UsageError, match=words):
        call(corpus.labels)


def test_a_corpus_passes_through(corpus):
    assert corpus_of(corpus) is corpus


def test_earlier_checkpoints_are_of_the_same_runs_and_tell_accuracy_alone(zoo, corpus):
    mine = corpus.take([3, 40, 7])
    grown = with_earlier(mine, [corpus_of(zoo, 0)])
    assert len(grown) == 6 and sorted(grown.labels["run"]) == sorted([*mine.labels["run"]] * 2)
    tasks = {t.name: t for t in find_tasks(grown.labels)}
    assert np.isfinite(read_labels(grown, tasks["test_accuracy"])).all()
    assert all(np.isnan(read_labels(grown, t)[3:]).all() for t in tasks.values() if t.name != "test_accuracy")
    for row in range(3, 6):
        number = int(grown.labels["member"][row])
        group = next(g for g in grown.population.groups if row in g.rows)
        found = group.tensors["layers.0.weight"][list(group.rows).index(row)]
        assert torch.equal(found, zoo.member(number, 0).tensors["layers.0.weight"])
        assert grown.labels["test_accuracy"][row] == zoo.labels["test_accuracy@0"].iloc[number]


def test_without_earlier_checkpoints_nothing_changes(corpus):
    same = with_earlier(corpus, [])
    assert same.labels is corpus.labels and len(same) == len(corpus)


def test_accuracy_of_a_checkpoint_that_was_not_measured_is_not_known(zoo):
    table = zoo.labels.drop(columns="test_accuracy@0")
    bare = Zoo(zoo.folder, zoo.index)
    bare.__dict__["labels"] = table
    assert corpus_of(bare, 0).labels["test_accuracy"].isna().all()
