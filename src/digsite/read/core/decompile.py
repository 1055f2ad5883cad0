"""A compiled transformer back into the program that it was compiled from: from weights alone, in whatever basis.

Its stream is a sum of variables, each a set of directions: one for every value, or a single one that is scaled. A head
compares two of them and carries a third; a group of neurons maps one or two of them to a new one. So the variables are
followed from the embeddings on, block by block, by what each matrix does to the directions that are known so far. Nothing is
run, and no direction has to be a coordinate. What does not come out as exactly such steps is refused: a trained network has
no program of this kind.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement, product
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError

SLIGHT = 1e-3  # of the largest number beside it: rounding to float32 leaves a hundredth of that
MOST_VALUES = 512  # that a numerical variable may take before it is no longer listed


class NoProgram(UsageError):
    """The network does something that no step of a program does."""


@dataclass(frozen=True)
class Variable:
    """One quantity of the stream: `vectors` (values, width) has a direction for each value.

    Of a numerical one there is a single direction, of which the stream holds a multiple: one of `numbers`.
    """

    name: str
    vectors: Float[Tensor, "values width"]
    numbers: tuple[float, ...] = ()

    @property
    def is_numerical(self) -> bool:
        """Whether it is a number along one direction."""
        return bool(self.numbers)

    @property
    def states(self) -> Float[Tensor, "states width"]:
        """What it may add to the stream."""
        if not self.numbers:
            return self.vectors
        return torch.tensor(self.numbers, dtype=self.vectors.dtype)[:, None] * self.vectors


@dataclass(frozen=True)
class Step:
    """`output = operation(inputs)`. `table` has the output's value (its number, or which of its vectors) for all values of
    the inputs, `selected` (queries, keys) what a head looks at, and `relation` says it in words where values have an order.
    """

    operation: str
    output: str
    inputs: tuple[str, ...]
    table: Tensor | None = None
    selected: Bool[Tensor, "queries keys"] | None = None
    relation: str = ""

    def __str__(self) -> str:
        named = ", ".join(self.inputs)
        if self.selected is not None:
            query, key, *value = self.inputs
            what = f"{self.operation}(key {key}, query {query}: {self.relation})"
            return f"{self.output} = {what}{f' of {value[0]}' if value else ''}"
        return f"{self.output} = {self.operation}({named})"


@dataclass
class Program:
    """What was read: variables in the order in which they appear, the steps between them, and which one is the answer."""

    variables: dict[str, Variable] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    answer: str = ""

    def add(self, step: Step, variable: Variable) -> None:
        """A step and the variable that it writes."""
        self.steps.append(step)
        self.variables[variable.name] = variable

    def __str__(self) -> str:
        return "\n".join([*map(str, self.steps), f"answer: {self.answer}"])


@dataclass(frozen=True)
class Stack:
    """The matrices of a transformer without norms and biases, in float64, each (out, in): what writes to the stream last."""

    embed: Float[Tensor, "tokens width"]
    positions: Float[Tensor, "positions width"]
    heads: list[list[tuple[Tensor, Tensor, Tensor, Tensor]]]  # query, key, value, output, by block
    mlps: list[tuple[Tensor, Tensor]]
    unembed: Tensor

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], n_heads: int) -> "Stack":
        """From tensors called `embed`, `pos`, `blocks.N.attn.q` .. `o`, `blocks.N.mlp.in`, `out`, and `unembed`."""
        wide = {name.removesuffix(".weight"): tensor.double() for name, tensor in state.items()}
        n_blocks = 1 + max(
            (int(name.split(".")[1]) for name in wide if name.startswith("blocks.")), default=-1
        )
        needed = ["embed", "pos", "unembed", *(f"blocks.{i}.mlp.out" for i in range(n_blocks))]
        if (
            not n_blocks
            or any(name not in wide for name in needed)
            or any("norm" in n or "ln" in n for n in wide)
        ):
            raise NoProgram("Only transformers without norms are read as programs.")
        heads = []
        for i in range(n_blocks):
            q, k, v = (wide[f"blocks.{i}.attn.{part}"].chunk(n_heads) for part in "qkv")
            o = wide[f"blocks.{i}.attn.o"].chunk(n_heads, dim=1)
            heads.append(list(zip(q, k, v, o, strict=True)))
        mlps = [(wide[f"blocks.{i}.mlp.in"], wide[f"blocks.{i}.mlp.out"]) for i in range(n_blocks)]
        return cls(wide["embed"], wide["pos"], heads, mlps, wide["unembed"])


def read_program(stack: Stack, symbols: Sequence[int], begin: int) -> Program:
    """The program of a compiled transformer.

    `symbols` are the tokens that an input is made of, `begin` is the token in front of it.
    """
    program = Program()
    program.variables["tokens"] = Variable("tokens", stack.embed[list(symbols)])
    program.variables["indices"] = Variable("indices", stack.positions[1:])
    start = stack.embed[begin]
    for heads, (into, out) in zip(stack.heads, stack.mlps, strict=True):
        # What the heads of a block write is read by its neurons, and not by the heads beside them.
        written = [
            _read_head(head, program, start, f"v{len(program.steps) + i}") for i, head in enumerate(heads)
        ]
        for step, variable in filter(None, written):
            program.add(step, variable)
        for step, variable in _read_neurons(into, out, program):
            program.add(step, variable)
    program.answer = _read_answer(stack.unembed, program)
    return program


def _read_head(
    head: tuple[Tensor, ...], program: Program, start: Tensor, name: str
) -> tuple[Step, Variable] | None:
    """What a head selects and what it carries; None where it does nothing."""
    query, key, value, output = head
    carry = output @ value
    if not carry.any() or not (query.any() and key.any()):
        return None
    scores = {
        (a.name, b.name): (a.vectors @ query.T) @ (b.vectors @ key.T).T
        for a in program.variables.values()
        for b in program.variables.values()
    }
    compared = _only_large({pair: score.abs().max() for pair, score in scores.items()}, "A head compares")
    score = scores[compared]
    selected = score > score.max() / 2
    if (score - selected * score.max()).abs().max() > SLIGHT * score.max():
        raise NoProgram("A head prefers some of what it looks at to others, where a program only selects.")
    relation = name_relation(selected, {*compared} <= _list_ordered(program))
    moved = {v.name: v.vectors @ carry.T for v in program.variables.values()}
    sizes = {n: image.norm(dim=1).max() for n, image in moved.items()}
    marked = carry @ start
    if (
        max(sizes.values()) < SLIGHT * marked.norm()
    ):  # it looks at the beginning alone: how many others share the attention
        numbers = tuple(1 / (1 + n) for n in range(len(program.variables["indices"].vectors) + 1))
        return (
            Step("selector_width", name, compared, selected=selected, relation=relation),
            Variable(name, marked[None], numbers),
        )
    carried = program.variables[_only_large(sizes, "A head carries")]
    numbers = _list_means(carried.numbers, len(program.variables["indices"].vectors))
    return (
        Step("aggregate", name, (*compared, carried.name), selected=selected, relation=relation),
        Variable(name, moved[carried.name], numbers),
    )


def _only_large(sizes: Mapping[Any, Tensor], what: str) -> Any:
    """The single entry that is not next to nothing."""
    largest = max(sizes.values())
    large = [key for key, size in sizes.items() if size > SLIGHT * largest]
    if largest == 0 or len(large) != 1:
        raise NoProgram(
            f"{what} {len(large) if largest else 'none'} of the known variables, where a step takes a single choice."
        )
    return large[0]


def _list_means(numbers: tuple[float, ...], most: int) -> tuple[float, ...]:
    """Every mean of up to `most` of the numbers, and nothing selected."""
    if not numbers:
        return ()
    means = {0.0}
    for n in range(1, most + 1):
        for chosen in combinations_with_replacement(sorted(set(numbers))[:8], n):
            means.add(round(sum(chosen) / n, 9))
            if len(means) >= MOST_VALUES:
                return tuple(sorted(means))
    return tuple(sorted(means))


def _read_neurons(into: Tensor, out: Tensor, program: Program) -> Iterator[tuple[Step, Variable]]:
    """Groups of neurons that make up a map each, in the order in which the first of each comes."""
    base = program.variables["tokens"].vectors[:1]  # any symbol brings the constant along
    reads = [_list_reads(row, program) for row in into]
    alive = [i for i in range(len(into)) if out[:, i].any() and (reads[i] or (into[i] @ base[0]) > SLIGHT)]
    numerical = {v.name for v in program.variables.values() if v.is_numerical}
    stepped = [i for i in alive if not reads[i] or any(name in numerical for name in reads[i])]
    groups = [
        (group, tuple(dict.fromkeys(n for i in group for n in reads[i])))
        for group in _join_outputs(out, stepped)
    ]
    for inputs in dict.fromkeys(reads[i] for i in alive if i not in stepped):
        of_these = [i for i in alive if reads[i] == inputs]
        groups += [(group, inputs) for group in _part_maps(into[of_these], of_these, inputs, program)]
    for group, inputs in sorted(groups):
        if not inputs:
            raise NoProgram("Neurons write something that depends on nothing.")
        yield _read_map(into[group], out[:, group], inputs, program, f"v{len(program.steps)}")


def _list_reads(row: Tensor, program: Program) -> tuple[str, ...]:
    """Variables whose value makes a difference to a neuron."""
    spread = {}
    for variable in program.variables.values():
        felt = variable.vectors @ row
        spread[variable.name] = felt.abs().max() if variable.is_numerical else felt.max() - felt.min()
    largest = max(spread.values())
    return tuple(name for name, size in spread.items() if size > SLIGHT and size > SLIGHT * largest)


def _join_outputs(out: Tensor, neurons: Sequence[int]) -> list[list[int]]:
    """Neurons that write along shared directions, taken together: steps of one staircase, terms of one sum."""
    groups: list[list[int]] = []
    for i in neurons:
        near = [g for g in groups if any(abs(_cosine(out[:, i], out[:, j])) > SLIGHT for j in g)]
        groups = [g for g in groups if g not in near] + [sorted([i, *(j for g in near for j in g)])]
    return groups


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def _part_maps(
    rows: Tensor, neurons: list[int], inputs: tuple[str, ...], program: Program
) -> list[list[int]]:
    """Neurons that read the same variables, parted into maps: a map's neurons fire on different values, and on all of them.

    A neuron that does not share out the values with others is a map to a number of its own.
    """
    fires = (_list_states(inputs, program) @ rows.T).T > SLIGHT
    maps: list[list[int]] = []
    current, covered = [], torch.zeros(fires.shape[1], dtype=torch.bool)
    for neuron, fired in zip(neurons, fires, strict=True):
        if (fired & covered).any():
            maps += _close_map(current, inputs)
            current, covered = [], torch.zeros_like(covered)
        current, covered = [*current, neuron], covered | fired
        if covered.all():
            maps.append(current)
            current, covered = [], torch.zeros_like(covered)
    return maps + _close_map(current, inputs)


def _close_map(current: list[int], inputs: tuple[str, ...]) -> list[list[int]]:
    """What is left when values are left over: of pairs, a map that has no answer there; else numbers, a neuron each."""
    if not current:
        return []
    return [current] if len(inputs) > 1 else [[neuron] for neuron in current]


def _list_states(inputs: Sequence[str], program: Program) -> Float[Tensor, "combinations width"]:
    """The stream for every combination of the inputs' values, the last input fastest; a symbol is always there."""
    if len(inputs) > 2:
        raise NoProgram(f"Neurons read {len(inputs)} variables at once, where a step reads two at most.")
    names = list(inputs) if "tokens" in inputs else ["tokens", *inputs]
    parts = [program.variables[name].states for name in names]
    if "tokens" not in inputs:
        parts[0] = parts[0][:1]
    return torch.stack([torch.stack(chosen).sum(0) for chosen in product(*parts)])


def _read_map(
    rows: Tensor, columns: Tensor, inputs: tuple[str, ...], program: Program, name: str
) -> tuple[Step, Variable]:
    """The table of a map: what its neurons write for all values of its inputs."""
    written = (_list_states(inputs, program) @ rows.T).relu() @ columns.T
    sizes = [len(program.variables[n].states) for n in inputs]
    values = torch.linalg.svdvals(written)
    if len(values) < 2 or values[1] < SLIGHT * values[0]:
        direction = torch.linalg.svd(written, full_matrices=False)[2][:1]
        table = (written @ direction[0]).reshape(sizes)
        numbers = tuple(sorted({round(float(x), 6) for x in table.flatten()}))
        variable = Variable(name, direction, numbers)
        if len(inputs) == 1:
            return Step("map", name, inputs, table), variable
        return Step(_name_sum(table), name, inputs, table), variable
    kinds, table = _distinct(written)
    first = program.steps[-1] if program.steps else None
    width = next(
        (s for s in program.steps if s.output == inputs[0] and s.operation == "selector_width"), first
    )
    counts = (
        len(inputs) == 1
        and width is not None
        and width.operation == "selector_width"
        and width.output == inputs[0]
    )
    operation = "count" if counts else "map" if len(inputs) == 1 else "sequence_map"
    return Step(operation, name, inputs, table.reshape(sizes)), Variable(name, kinds)


def _name_sum(table: Tensor) -> str:
    """A table of two numbers that is a weighted sum of them is linear."""
    crossed = table - table[:1] - table[:, :1] + table[0, 0]
    return "linear_sequence_map" if crossed.abs().max() <= SLIGHT * table.abs().max() else "sequence_map"


def _distinct(written: Tensor) -> tuple[Tensor, Tensor]:
    """Different rows, and which of them each row is."""
    kinds: list[Tensor] = []
    which = []
    for row in written:
        near = [i for i, kind in enumerate(kinds) if (row - kind).norm() < 0.1]
        which.append(near[0] if near else len(kinds))
        kinds += [] if near else [row]
    return torch.stack(kinds), torch.tensor(which)


def _read_answer(unembed: Tensor, program: Program) -> str:
    """The variable that the last matrix reads."""
    sizes = {v.name: (v.vectors @ unembed.T).abs().max() for v in program.variables.values()}
    return _only_large(sizes, "The answer is read from")


def _list_ordered(program: Program) -> set[str]:
    """Variables whose values come in an order that means something: symbols, positions, counts."""
    return {"tokens", "indices", *(step.output for step in program.steps if step.operation == "count")}


def name_relation(selected: Bool[Tensor, "queries keys"], is_ordered: bool) -> str:
    """A selection in words: equality of one variable with itself needs no order of its values, key < query does."""
    query, key = torch.meshgrid(*(torch.arange(n) for n in selected.shape), indexing="ij")
    named = {"always": torch.ones_like(selected)}
    if is_ordered:
        named |= {
            "key == query": key == query,
            "key != query": key != query,
            "key < query": key < query,
            "key <= query": key <= query,
            "key > query": key > query,
            "key >= query": key >= query,
            "key == query - 1": key == query - 1,
            "key == query + 1": key == query + 1,
        }
    return next((words for words, grid in named.items() if torch.equal(grid, selected)), "a table")
