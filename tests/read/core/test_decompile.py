"""Compiled programs, which nobody here made, read back from weights in a hidden basis; and what has no program."""

import pytest
import torch

from digsite.decompose.subjects.compiled import SHIPPED, load_program, rotate_program
from digsite.read.core.decompile import NoProgram, Stack, name_relation, read_program

SHIPPED_PROGRAMS = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def read(program):
    encoding = program.truth["encoding"]
    symbols = [encoding[str(symbol)] for symbol in program.truth["symbols"]]
    stack = Stack.of_state(program.model.state_dict(), program.truth["heads"])
    return read_program(stack, symbols, encoding["BOS"])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_program_in_words(seed):
    assert str(read(rotate_program(load_program("hist"), seed))).splitlines() == [
        "v0 = selector_width(key tokens, query tokens: key == query)",
        "v1 = count(v0)",
        "answer: v1",
    ]
    before, after, *_ = str(read(rotate_program(load_program("neighbours"), seed))).splitlines()
    assert before == "v0 = aggregate(key indices, query indices: key == query - 1) of tokens"
    assert after == "v1 = aggregate(key indices, query indices: key == query + 1) of tokens"


@pytest.mark.parametrize("name", SHIPPED_PROGRAMS)
def test_the_basis_plays_no_part(name):
    program = load_program(name)
    assert str(read(program)) == str(read(rotate_program(program, 3)))


@pytest.mark.parametrize("name", SHIPPED_PROGRAMS)
def test_random_weights_have_no_program(name):
    program = rotate_program(load_program(name), 0)
    torch.manual_seed(0)
    for weight in program.model.parameters():
        weight.copy_(torch.randn(weight.shape))
    with pytest.raises(NoProgram):
        read(program)


def test_networks_of_other_kinds_are_refused():
    for state in (
        {"a": torch.ones(2, 2)},
        {"embed.weight": torch.ones(2, 2), "pos.weight": torch.ones(2, 2)},
    ):
        with pytest.raises(NoProgram, match="without norms"):
            Stack.of_state(state, 1)


def test_order_is_only_spoken_of_where_values_have_one():
    below = torch.tril(torch.ones(3, 3, dtype=torch.bool), -1)
    assert name_relation(below, True) == "key < query" and name_relation(below, False) == "a table"
    assert name_relation(torch.ones(2, 3, dtype=torch.bool), False) == "always"
