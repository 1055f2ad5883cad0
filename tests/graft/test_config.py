from dataclasses import fields

import pytest
from pydantic import ValidationError

from digsite.config import Config
from digsite.graft.config import (
    CONFIGS,
    MERGE_NUMBERS,
    CompareConfig,
    MergeStoriesConfig,
    list_group,
    list_texts,
)
from digsite.graft.core.merges import MergeSettings


def test_sets_stand_for_lists():
    config = CompareConfig.model_validate({"methods": ["@surgery", "union"], "grids": ["@framework"]})
    assert config.methods == [*list_texts("surgery"), "union"]
    assert {g.method: g.options for g in config.grids} == list_group("injection")
    assert CompareConfig.model_validate(config.model_dump()) == config


def test_a_grid_of_its_own_replaces_the_original_one():
    own = {"method": "continual", "options": ["order=4 steps=40"]}
    config = CompareConfig.model_validate({"grids": ["@framework", own]})
    assert {g.method: g.options for g in config.grids} == {
        **list_group("injection"),
        "continual": own["options"],
    }
    assert len(config.grids) == 9


def test_the_nine_have_the_originals_grid_sizes():
    assert {k: len(v) for k, v in list_group("injection").items()} == {
        "precomputed_alignment": 13,
        "neural_alignment": 6,
        "concept_dimension": 27,
        "sparsity_optimization": 10,
        "hierarchical": 5,
        "multi_concept": 4,
        "adversarial": 5,
        "universal": 4,
        "continual": 4,
    }


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"methods": ["unionn"]}, "Did you mean 'union'"),
        ({"grids": [{"method": "x", "options": ["a=1"]}]}, "no graft method 'x'"),
        ({"new": [3]}, "both old and new"),
        ({"shared": [7]}, "not among the old"),
        ({"rate": 0}, "greater than 0"),
        ({"seed": -1}, "greater than or equal"),
        ({"shared": []}, "at least 1 item"),
        (
            {"choices": [{"data": "digits", "old": [1], "shared": [1], "new": [1], "foreign": []}]},
            "both old and new",
        ),
        (
            {"choices": 2 * [{"data": "digits", "old": [1], "shared": [1], "new": [2], "foreign": []}]},
            "twice",
        ),
    ],
)
def test_what_makes_no_sense(values, says):
    with pytest.raises(ValidationError, match=says):
        CompareConfig.model_validate(values)


def test_configs_and_methods_have_the_same_names():
    from digsite.graft.run import METHODS

    assert set(CONFIGS) == set(METHODS)
    assert all(issubclass(c, Config) for c in CONFIGS.values())


def test_each_choice_is_a_task_of_its_own_and_all_else_is_the_studys():
    choices = [
        {"data": "digits", "old": [0, 1], "shared": [1], "new": [4], "foreign": [5]},
        {"data": "usps", "old": [5, 6], "shared": [6], "new": [9, 7], "foreign": []},
    ]
    config = CompareConfig.model_validate({"choices": choices, "seeds": 3, "methods": ["union"]})
    (first, four), (second, nine) = config.list_tasks()
    assert (first, second) == ("digits_4", "usps_9_7")
    assert (four.data, four.new, four.seeds, four.methods, four.choices) == ("digits", [4], 3, ["union"], [])
    assert (nine.data, nine.old, nine.shared, nine.new, nine.foreign) == ("usps", [5, 6], [6], [9, 7], [])
    alone = CompareConfig.model_validate({})
    assert alone.list_tasks() == [("", alone)]


@pytest.mark.parametrize("text", ["scale=x", "scale", "nonsense=3", "scale=nan"])
def test_settings_of_merges_are_named_numbers(text):
    """Refused with the config, not after the training; the names are those of the settings."""
    with pytest.raises(ValueError, match="no NAME=NUMBER"):
        MergeStoriesConfig.model_validate({"methods": {"ties": [text]}})
    with pytest.raises(ValueError, match="methods"):
        MergeStoriesConfig.model_validate({"methods": {}})
    assert set(MERGE_NUMBERS) == {field.name for field in fields(MergeSettings)} - {"shares"}
