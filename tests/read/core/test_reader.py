import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.read import check_invariance, load_reader, train_reader
from digsite.read.core.corpus import corpus_of, read_labels
from digsite.read.core.metrics import score_answers
from digsite.read.core.reader import fit_over_recipes, list_readers, train_over_recipes

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


def test_intervals_hold_for_new_recipes_that_shift_like_the_others():
    """Each recipe has an offset of its own: intervals from within the recipes would be far too narrow."""
    held = []
    for trial in range(12):
        rng = np.random.default_rng(trial)
        recipes = np.repeat(np.arange(16), 15)
        offset = rng.normal(size=17)
        x = rng.normal(size=(240, 3))
        y = x[:, 0] + offset[recipes] + 0.1 * rng.normal(size=240)
        forest, margin = fit_over_recipes(x, y, recipes.astype(str), trial)
        new = rng.normal(size=(40, 3))
        truth = new[:, 0] + offset[16] + 0.1 * rng.normal(size=40)
        held.append(float((np.abs(forest.raw(new)[:, 0] - truth) <= margin).mean()))
    assert 0.75 < np.mean(held) <= 1.0


def deal_recipes(corpus, count):
    """The corpus cut into so many parts, each taken for a zoo of its own recipe."""
    return {f"mlp/{i}": corpus.take(np.arange(i, len(corpus), count)) for i in range(count)}


@pytest.mark.parametrize(("kind", "runs"), [("strokes", True), ("shape_free", False)])
def test_a_reader_over_recipes_is_saved_and_knows_other_shapes(kind, runs, sides, tmp_path):
    reader = train_over_recipes(deal_recipes(sides[0], 10), kind)
    back = load_reader(reader.save(tmp_path / "any.safetensors"))
    assert back.over_recipes and back.card["runs_the_network"] is runs
    assert np.isfinite(back.margins["test_accuracy"])
    assert np.allclose(
        reader.answers(sides[1])["test_accuracy"], back.answers(sides[1])["test_accuracy"], atol=1e-4
    )
    other = torch.nn.Sequential(torch.nn.Linear(100, 30), torch.nn.Tanh(), torch.nn.Linear(30, 10))
    assert 0 <= back.predict(other).table["value"].iloc[0] <= 1
    few = torch.nn.Sequential(torch.nn.Linear(100, 30), torch.nn.Tanh(), torch.nn.Linear(30, 3))
    with pytest.raises(UsageError, match="never seen 'output:3'"):
        back.answers(few)


def test_a_reader_that_is_bound_to_shapes_cannot_be_trained_over_recipes(sides):
    for kind in ("consensus", "no such reader"):
        with pytest.raises(UsageError, match="does not read networks of any shape"):
            train_over_recipes({"a": sides[0]}, kind)
