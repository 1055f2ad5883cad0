"""Old names of studies, methods and settings still work, through one table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.config import aliases
from digsite.studies import find_study
from digsite.studies.plan import plan
from digsite.worker import methods

LEAVES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner), max_leaves=6
)


def test_a_method_that_moved_is_found_under_its_old_name():
    assert methods.config_class("graft.roundtrip") is methods.config_class("joint.survival")


def test_every_old_name_leads_to_one_of_today():
    for method in aliases.METHODS.values():
        assert methods.function(method)
    for study in aliases.STUDIES.values():
        assert find_study(study)


def test_a_setting_of_a_study_of_somebody_elses_is_read_under_its_old_name(tmp_path, monkeypatch):
    monkeypatch.setitem(
        aliases.SETTINGS, "decompose.toy", {"decompose.parts": "decompose.C", "networks": "seeds"}
    )
    folder = tmp_path / "old-toy"
    folder.mkdir()
    kept = (find_study("tms_5-2").folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(kept.replace("  seeds: 20\n", "  networks: 3\n", 1))
    assert plan(find_study("old-toy", [tmp_path])).tree["seeds"] == 3


@given(st.dictionaries(st.sampled_from("abc"), LEAVES))
def test_what_has_no_old_name_stays_as_it_is(tree):
    assert aliases.current_settings("nothing.renamed", tree) == tree


@pytest.mark.parametrize(
    ("tree", "now"),
    [
        ({"old": {"x": 1}, "k": 2}, {"new": {"y": 1}, "old": {}, "k": 2}),
        ({"k": 2}, {"k": 2}),
        ({"old": {"x": 1}, "new": {"y": 5}}, {"old": {}, "new": {"y": 5}}),
    ],
)
def test_values_move_and_the_newer_name_wins(tree, now, monkeypatch):
    monkeypatch.setitem(aliases.SETTINGS, "m", {"old.x": "new.y"})
    assert aliases.current_settings("m", tree) == now
