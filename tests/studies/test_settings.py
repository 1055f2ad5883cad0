"""Every setting of a study as a page and `digsite info` tell it."""

from digsite.studies import find_study
from digsite.studies.settings import describe_study


def test_entries_that_a_study_names_are_told_by_their_kind():
    facts = {s["key"]: s for s in describe_study(find_study("tms_5-2"))["settings"]}
    coefficient = facts["decompose.losses.importance_minimality.coeff"]
    assert (coefficient["type"], coefficient["range"]) == ("number", ">= 0")
    assert facts["decompose.losses.stochastic_recon.samples"]["text"] == "draws per step"
    assert facts["truth.linear*.identity"]["type"] == "whole number"


def test_a_group_that_may_hold_anything_is_told_as_a_group():
    facts = {s["key"]: s for s in describe_study(find_study("tms_5-2"))["settings"]}
    assert facts["metrics.ci_l0"]["type"] == "group"
