"""Skills change the tokens they should and no others, and can be told from each other."""

from itertools import pairwise

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.data import stories
from digsite.data.grammar import BOYS, GIRLS, LOOKS, THINGS
from digsite.graft.subjects.story_skills import answers_at, facts_table, skill_accuracy, told_with


def words(rows):
    names = {i: w for w in stories.tokenizer().words for i in stories.tokenizer().ids([w])}
    return [[names.get(i, "") for i in row] for row in rows.tolist()]


def test_facts_tie_the_place_to_the_name():
    rows, plain = told_with(("facts",), 60, 36, 0), told_with((), 60, 36, 0)
    places = dict(zip(GIRLS + BOYS, facts_table(0).tolist(), strict=True))
    at = answers_at("facts", rows)
    assert at.any() and torch.equal(rows[~at], plain[~at])
    told = words(rows)
    for row, column in at.nonzero().tolist():
        assert int(rows[row, column]) == places[told[row][column - 4]]


def test_order_puts_the_adjective_behind_and_changes_nothing_else():
    rows, plain = told_with(("order",), 60, 36, 0), told_with((), 60, 36, 0)
    assert torch.equal(rows.sort(1).values, plain.sort(1).values)
    for line in words(rows):
        for first, second in pairwise(line):
            assert not (first in LOOKS and second in THINGS)


def test_a_model_that_knows_is_right_and_one_that_guesses_is_not():
    for skill in ("facts", "order"):
        rows = told_with((skill,), 40, 36, 1)

        def knows(given, rows=rows):
            return torch.nn.functional.one_hot(rows.roll(-1, 1), stories.tokenizer().size).float()

        assert skill_accuracy(skill, knows, rows) == 1.0
        assert skill_accuracy(skill, lambda g: torch.zeros(*g.shape, stories.tokenizer().size), rows) == 0.0


def test_what_has_no_answer_is_said():
    with pytest.raises(UsageError, match="no story skill 'rhyme'"):
        told_with(("rhyme",), 2, 36, 0)
    with pytest.raises(UsageError, match="None of the 1 windows"):
        skill_accuracy("facts", lambda rows: rows, told_with((), 1, 36, 0)[:, :5])
