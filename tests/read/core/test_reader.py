import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.read import check_invariance, load_reader, train_reader
from digsite.read.core.corpus import corpus_of, read_labels
from digsite.read.core.metrics import score_answers
from digsite.read.core.reader import list_readers

TASKS = ["test_accuracy", "optimizer", "missing_class"]


@pytest.fixture(scope="module")
def readers(sides):
    return {
        k: train_reader(sides[0], k, TASKS, epochs=2, width=16, hidden_dim=24) for k in ("consensus", "nwpa")
    }


@pytest.mark.parametrize("kind", ["consensus", "nwpa"])
def test_saved_reader_answers_the_same(readers, kind, sides, tmp_path):
    reader = readers[kind]
    back = load_reader(reader.save(tmp_path / "r.safetensors"))
    a, b = reader.predict(sides[1]), back.predict(sides[1])
    assert all(np.allclose(a.answers[t], b.answers[t], atol=1e-4) for t in TASKS)
    assert back.card == reader.card and (a.in_zoo == b.in_zoo).mean() > 0.9


def test_predictions_are_a_table_with_intervals_and_sets(readers, sides):
    found = readers["consensus"].predict(sides[1].take([0, 1]))
    rows = found.table.set_index(["model", "task"])
    accuracy = rows.loc[(0, "test_accuracy")]
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert rows.loc[(1, "optimizer")]["value"] in rows.loc[(1, "optimizer")]["set"].split()
    assert len(found.table) == 2 * len(TASKS)


def test_reading_is_better_than_chance_on_networks_it_never_saw(readers, sides):
    test = sides[1]
    task = readers["consensus"].tasks[0]
    assert (
        score_answers(task, read_labels(test, task), readers["consensus"].answers(test)["test_accuracy"])[
            "tau"
        ]
        > 0.3
    )


def test_a_trained_graph_reader_is_invariant(readers, sides):
    relu = int(np.flatnonzero(sides[1].labels["activation"] == "relu")[0])
    table = check_invariance(readers["nwpa"], sides[1].take([relu]).population).set_index("symmetry")
    assert table.loc["permutation", "verdict"] == "holds" and table.loc["scale", "verdict"] == "holds"
    assert table.loc["scale", "recipe_tasks"] > table.loc["scale", "function_tasks"]


def test_one_module_is_read_like_the_zoos_member(readers, zoo, sides):
    member = int(sides[1].labels["member"][2])
    alone = readers["nwpa"].answers(zoo.module(member))["test_accuracy"]
    bundle = readers["nwpa"].answers(zoo.member(member))["test_accuracy"]
    together = readers["nwpa"].answers(sides[1])["test_accuracy"][2:3]
    assert np.allclose(alone, together, atol=1e-5) and np.allclose(bundle, together, atol=1e-5)


def test_other_families_are_refused(readers):
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
    with pytest.raises(UsageError, match="trained for another family"):
        readers["nwpa"].predict(other)


def test_every_feature_reader_refuses_other_families(readers):
    other = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    with pytest.raises(UsageError, match="another family"):
        readers["consensus"].predict(other)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "none.safetensors", "no reader at"),
        (lambda p: _write(p / "x.safetensors", b"nonsense"), "is not a reader"),
        (lambda p: _plain(p / "y.safetensors"), "not a reader: it has no"),
    ],
)
def test_bad_files(make, words, tmp_path):
    with pytest.raises((UsageError, NotFound), match=words):
        load_reader(make(tmp_path))


def _write(path, content):
    path.write_bytes(content)
    return path


def _plain(path):
    save_file({"w": torch.zeros(2)}, path)
    return path


def test_unknown_kind_and_too_few_networks(sides):
    with pytest.raises(UsageError, match="statistics"):
        train_reader(sides[0], "statistic")
    with pytest.raises(UsageError, match="20 networks are too few"):
        train_reader(sides[0].take(np.arange(20)), "statistics")


def test_all_kinds_are_listed():
    assert {"statistics", "pca", "spectra", "neurons", "consensus", "probe", "nwpa", "ensemble"} <= set(
        list_readers()
    )


def test_earlier_checkpoints_are_learned_from_and_calibrate_nothing(zoo, sides):
    plain, more = (
        train_reader(sides[0], "statistics", ["test_accuracy", "optimizer"], earlier=earlier)
        for earlier in ((), (corpus_of(zoo, 0),))
    )
    a, b = plain.answers(sides[1]), more.answers(sides[1])
    assert np.array_equal(a["optimizer"], b["optimizer"])  # at a checkpoint only the accuracy is known
    assert not np.array_equal(a["test_accuracy"], b["test_accuracy"])
    assert more.card == plain.card
