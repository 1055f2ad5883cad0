import pytest
from pydantic import ValidationError

from digsite.config import Config
from digsite.graft.config import CONFIGS, CompareConfig, list_group, list_texts


def test_sets_stand_for_lists():
    config = CompareConfig.model_validate({"methods": ["@surgery", "union"], "grids": ["@framework"]})
    assert config.methods == [*list_texts("surgery"), "union"]
    assert {g.method: g.options for g in config.grids} == list_group("injection")
    assert CompareConfig.model_validate(config.model_dump()) == config


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
    ],
)
def test_what_makes_no_sense(values, says):
    with pytest.raises(ValidationError, match=says):
        CompareConfig.model_validate(values)


def test_configs_and_methods_have_the_same_names():
    from digsite.graft.run import METHODS

    assert set(CONFIGS) == set(METHODS)
    assert all(issubclass(c, Config) for c in CONFIGS.values())
