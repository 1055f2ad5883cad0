"""A setting that names a member of something is checked when it is read."""

from typing import Annotated

import pytest
from pydantic import ValidationError

from digsite.config import Config, Field
from digsite.config.model import check_settings, list_known, named_member

METRICS = "digsite.decompose.judge.metrics"


class Bag(Config):
    metric: Annotated[str, named_member("metric", METRICS, ["own"])] = Field("ci_l0", description="a metric")
    method: Annotated[str, named_member("method", ["wanda"], clean=lambda text: text.lower())] = Field(
        "wanda", description="a method"
    )


def test_members_lists_tables_and_functions_are_all_names():
    tasks = list_known(["digsite.read.core.tasks:TASKS"])
    assert "test_accuracy" in tasks
    assert list_known([["a"], lambda: ["b"]]) == ["a", "b"]
    assert "uv" in list_known(["digsite.decompose.figures"])


def test_what_is_known_passes_unchanged():
    assert Bag(metric="own", method="WANDA") == Bag.model_validate({"metric": "own", "method": "WANDA"})


def test_what_is_not_known_is_answered_with_the_nearest_name():
    with pytest.raises(ValidationError, match="there is no metric 'ci_l1'. Did you mean 'ci_l0'"):
        Bag(metric="ci_l1")


def test_settings_of_members_are_read_by_the_members():
    check_settings(METRICS, {"ci_l0": {"threshold": 0.2}, "masked_recon": {}})
    with pytest.raises(ValueError, match="ci_l0 has no setting 'thresold'. Did you mean 'threshold'"):
        check_settings(METRICS, {"ci_l0": {"thresold": 0.2}})
    with pytest.raises(ValueError, match="takes a mapping of settings, not 3"):
        check_settings(METRICS, {"ci_l0": 3})
    with pytest.raises(ValueError, match="ci_l0 has no setting '1'"):
        check_settings(METRICS, {"ci_l0": {1: 2}})
