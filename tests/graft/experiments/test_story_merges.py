"""Which couples a study of merges scores: the first whose parents know what is to be kept."""

import pytest

from digsite.graft.config import MergeStoriesConfig
from digsite.graft.experiments import story_merges


@pytest.mark.parametrize(
    ("known", "scored"),
    [
        ([90, 90, 90, 90], [1, 2, 3]),
        ([90, 8, 90, 90], [1, 3, 4]),
        ([8, 8, 90, 90], [1, 3, 4]),
        ([8, 8, 8, 8], [1, 2, 3]),
    ],
)
def test_a_couple_that_learned_nothing_is_replaced_while_there_is_a_spare(monkeypatch, known, scored):
    bench = object.__new__(story_merges._Bench)
    bench.config = MergeStoriesConfig(seeds=3)
    monkeypatch.setattr(story_merges._Bench, "states", lambda _, member: (None, member))
    monkeypatch.setattr(
        story_merges._Bench, "whole", lambda _, member: {"facts": 100.0, "order": known[member - 1]}
    )
    rows = bench.pick_couples()
    assert [row["member"] for row in rows] == [1, 2, 3, 4]
    assert [row["member"] for row in rows if row["scored"]] == scored


def test_parents_that_did_not_learn_and_couples_that_were_replaced_are_said():
    assert "hardly know their skills" in story_merges._say_doubt(False, False)
    assert "was replaced" in story_merges._say_doubt(True, True)
    assert story_merges._say_doubt(True, False) == ""
