from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.config import Config, Field, resolve
from digsite.config.resolve import Layers, compare_trees, dump_config, nested_defaults, validate_config
from digsite.studies import find_study
from digsite.studies.plan import plan_run, start_run
from digsite.weights.sources.local import find_object
from digsite.worker import methods
from digsite.worker.execute import How, execute_run


class Mlp(Config):
    kind: Literal["mlp"] = "mlp"
    hidden: int = Field(16, gt=0, description="hidden width")


class Linear(Config):
    kind: Literal["linear"] = "linear"
    bias: bool = Field(True, description="add a bias")


class Study(Config):
    lr: float = Field(1e-3, gt=0, description="learning rate")
    gate: Annotated[Mlp | Linear, Field(discriminator="kind")] = Field(Mlp(), description="gate")
    sizes: list[int] = Field([1], description="sizes")


def test_every_field_needs_a_description():
    with pytest.raises(AssertionError, match="without a description: bare"):

        class Bad(Config):
            bare: int = 1


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"lrr": 1}, r"Unknown key 'lrr'.*Did you mean 'lr'"),
        ({"gate": {"kind": "mlp", "hiden": 1}}, r"Unknown key 'gate.mlp.hiden'.*Did you mean 'hidden'"),
        ({"lr": -1}, r"'lr' cannot be -1: input should be greater than 0"),
        ({"lr": "fast"}, r"'lr' cannot be 'fast'"),
        ({"lr": float("nan")}, r"'lr' cannot be nan"),
        ({"gate": {"kind": "cnn"}}, r"'gate' cannot be .*'mlp', 'linear'"),
        ({"lr": -1, "x": 1}, r"1 more problem"),
    ],
)
def test_one_sentence_with_the_value_and_what_is_accepted(tree, words):
    with pytest.raises(UsageError, match=words):
        validate_config(Study, tree)


def test_layers_remember_where_a_value_came_from():
    layers = (
        Layers(nested_defaults(Study))
        .add({"lr": 1e-2, "gate": {"hidden": 4}}, "study.yaml")
        .override(["gate.hidden=8"])
    )
    assert [layers.find_origin(p) for p in ("lr", "gate.hidden", "sizes")] == [
        "study.yaml",
        "command line",
        "default",
    ]
    assert validate_config(Study, layers.tree).gate == Mlp(hidden=8)


def test_dump_and_difference():
    a, b = (dump_config(validate_config(Study, tree)) for tree in ({}, {"lr": 0.5}))
    assert compare_trees(a, b) == {"lr": (1e-3, 0.5)}
    assert compare_trees(a, a) == {}


@pytest.mark.parametrize("text", ["seed=0-4", "seed=0..4", "seed='7'", "layers=[1-3]"])
def test_text_is_not_taken_for_a_number(text):
    """`seed=0-4` once ran a single run, with seed -4."""

    class Seeded(Config):
        seed: int = Field(0, description="seed")
        layers: list[int] = Field([], description="layers")

    with pytest.raises(UsageError, match="text and not a number") as error:
        validate_config(Seeded, Layers().override([text]).tree)
    assert ("0..4" in str(error.value)) == ("4" in text)
    assert validate_config(Seeded, Layers().override(["seed=1e3"]).tree).seed == 1000


# Old names of studies, methods and settings still work, through one table.

LEAVES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner), max_leaves=6
)


def test_a_method_that_moved_is_found_under_its_old_name():
    assert methods.config_class("graft.roundtrip") is methods.config_class("joint.survival")


def test_every_old_name_leads_to_one_of_today():
    for method in resolve.METHODS.values():
        assert methods.find_function(method)
    for study in resolve.STUDIES.values():
        assert find_study(study)


@pytest.mark.parametrize("target", resolve.OBJECTS)
def test_a_function_of_ours_is_found_where_an_old_config_names_it(target):
    assert find_object(target) is find_object(resolve.OBJECTS[target])


def test_a_model_study_that_was_stored_under_old_names_runs_today(tmp_path):
    """As it was pinned before the room was put in order: `py:` names and the schedule of that day."""
    folder = tmp_path / "stored"
    folder.mkdir()
    text = (find_study("own_model").folder / "study.yaml").read_text()
    for old, new in (("targets:build_pairs", "sample:pairs"), ("targets:draw_pairs", "sample:inputs")):
        assert old in text
        text = text.replace(old, new)
    (folder / "study.yaml").write_text(text.replace("quarter_cosine", "cosine"))
    run = start_run(plan_run(find_study("stored", [tmp_path]), size="smoke"), tmp_path / "runs")
    assert execute_run(run, How(device="cpu", quiet=True)) == 0, run.error.read_text()
    assert "sample:pairs" in run.launch.read_text()


def test_a_setting_of_a_study_of_somebody_elses_is_read_under_its_old_name(tmp_path, monkeypatch):
    monkeypatch.setitem(
        resolve.SETTINGS, "decompose.toy", {"decompose.parts": "decompose.C", "networks": "seeds"}
    )
    folder = tmp_path / "old-toy"
    folder.mkdir()
    kept = (find_study("tms_5-2").folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(kept.replace("  seeds: 20\n", "  networks: 3\n", 1))
    assert plan_run(find_study("old-toy", [tmp_path])).tree["seeds"] == 3


@given(st.dictionaries(st.sampled_from("abc"), LEAVES))
def test_what_has_no_old_name_stays_as_it_is(tree):
    assert resolve.current_settings("nothing.renamed", tree) == tree


@pytest.mark.parametrize(
    ("tree", "now"),
    [
        ({"old": {"x": 1}, "k": 2}, {"new": {"y": 1}, "old": {}, "k": 2}),
        ({"k": 2}, {"k": 2}),
        ({"old": {"x": 1}, "new": {"y": 5}}, {"old": {}, "new": {"y": 5}}),
    ],
)
def test_values_move_and_the_newer_name_wins(tree, now, monkeypatch):
    monkeypatch.setitem(resolve.SETTINGS, "m", {"old.x": "new.y"})
    assert resolve.current_settings("m", tree) == now
