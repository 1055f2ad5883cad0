"""The judge of read programs finds every mistake that is put into the truth."""

from copy import deepcopy

import pytest

from digsite.decompose.subjects.compiled import load_program, rotate_program
from digsite.joint.experiments.programs import describe_steps, find_nearest, match_program, score_reading
from digsite.read.core.decompile import Stack, read_program


@pytest.fixture(scope="module")
def neighbours():
    program = rotate_program(load_program("neighbours"), 1)
    encoding = program.truth["encoding"]
    symbols = [encoding[str(symbol)] for symbol in program.truth["symbols"]]
    stack = Stack.of_state(program.model.state_dict(), program.truth["heads"])
    return read_program(stack, symbols, encoding["BOS"]), program.truth


def step_of(truth, name):
    return next(step for step in truth["steps"] if step["name"] == name)


def test_the_truth_is_right(neighbours):
    assert match_program(*neighbours) == (3, 3, True)


def test_another_table_entry_is_a_mistake(neighbours):
    reading, truth = neighbours[0], deepcopy(neighbours[1])
    line = step_of(truth, "neighbours")["table"][0]
    line[2] = "other" if line[2] == "same" else "same"
    assert match_program(reading, truth) == (2, 3, False)


def test_another_selection_is_a_mistake(neighbours):
    reading, truth = neighbours[0], deepcopy(neighbours[1])
    step_of(truth, "next")["selected_key_query_pairs"].pop()
    assert match_program(reading, truth)[2] is False


def test_another_variable_or_answer_is_a_mistake(neighbours):
    reading, truth = neighbours[0], deepcopy(neighbours[1])
    step_of(truth, "symbol_after")["args"][1] = "indices"
    assert match_program(reading, truth)[2] is False
    truth = deepcopy(neighbours[1])
    truth["output"]["variable"] = "symbol_before"
    assert match_program(reading, truth)[2] is False


def test_a_missing_step_is_a_mistake(neighbours):
    reading, truth = neighbours[0], deepcopy(neighbours[1])
    truth["steps"] = [step for step in truth["steps"] if step["name"] != "neighbours"]
    assert match_program(reading, truth)[2] is False


def test_the_null_looks_up_another_program():
    programs = [load_program(name) for name in ("hist", "neighbours", "frac_prevs")]
    nearest = find_nearest(programs[0], programs)
    assert nearest is not None and nearest.name != "hist"
    assert describe_steps(nearest.truth) != describe_steps(programs[0].truth)
    assert find_nearest(programs[0], programs[:1]) is None


def test_a_score_says_why_nothing_was_read():
    program = rotate_program(load_program("hist"), 1)
    for weight in program.model.parameters():
        weight.copy_(weight.flatten().flip(0).view(weight.shape))
    score = score_reading(program)
    assert score["outcome"] == "refused" and score["why"].endswith(".")
