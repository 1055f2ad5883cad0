"""Compiled transformers read back into their programs, step by step, beside the program of the most similar network."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.decompose.subjects.compiled import (
    CompiledProgram,
    known_programs,
    load_program,
    pad_program,
    rotate_program,
)
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import ProgramsConfig
from digsite.read.core.decompile import NoProgram, Program, Stack, Step, Variable, read_program
from digsite.record.verdict import cite
from digsite.worker.run import Run

NEAR = 1e-2  # how far apart a number in a table and the same number in the program may be
NULL = "the most similar other network"
READ, REFUSED = "read", "refused"
OUTCOMES = {"right": "Fully right", "wrong": "Read with a mistake", REFUSED: "Refused"}


def study_programs(config: ProgramsConfig, run: Run) -> None:
    names = config.programs or known_programs()
    run.stage("programs", len(names))
    programs = [load_program(name, most_inputs=1) for name in names]
    rows: list[dict[str, Any]] = []
    for position, program in enumerate(programs):
        rows += run.once(program.name, lambda p=program: score_program(config, p, programs), announce=False)
        run.let_signals_in(position + 1)
    table = pd.DataFrame(rows)
    run.table("programs", table)
    claim_programs(run, table)
    run.figure(
        "programs",
        draw_programs(table),
        table,
        caption="Networks whose program was read fully and rightly, read with a mistake, or refused, by what was done to the network; the "
        "null hands in the program of the most similar other network.",
    )
    run.view("programs", kind="table", source="tables/programs.csv")
    run.headline(["right/hidden_basis", "wrong/noisy", "refused/shuffled_weights"], hero="programs")
    run.verdict(
        f"In a hidden basis {cite('right/hidden_basis', style='.0%')} of the programs are read fully and rightly from weights alone, and "
        f"{cite('steps/hidden_basis', style='.0%')} of their steps; the program of the most similar other network is right in "
        f"{cite('right/hidden_basis', 'null', '.0%')}. Of networks with shuffled weights {cite('refused/shuffled_weights', style='.0%')} are "
        f"refused; of noisy ones {cite('wrong/noisy', style='.0%')} are read with a mistake.",
        on=["right/*"],
    )


def score_program(
    config: ProgramsConfig, program: CompiledProgram, others: list[CompiledProgram]
) -> list[dict[str, Any]]:
    """One row for each thing done to the network: was its program read, and how many of its steps are right?"""
    rows = []
    for rotation in range(1, config.rotations + 1):
        seed = derive_seed(config.seed, program.name, rotation)
        for change, changed in list_changes(config, program, seed):
            rows.append(
                {"program": program.name, "rotation": rotation, "change": change, **score_reading(changed)}
            )
    nearest = find_nearest(program, others)
    if nearest is not None:
        same = describe_steps(nearest.truth) == describe_steps(program.truth)
        rows.append(
            {
                "program": program.name,
                "rotation": 0,
                "change": NULL,
                "outcome": READ,
                "right": same,
                "steps": float(same),
            }
        )
    return rows


def list_changes(
    config: ProgramsConfig, program: CompiledProgram, seed: int
) -> list[tuple[str, CompiledProgram]]:
    """The network in a hidden basis, and what else may have happened to it: wider, rounded, noisy; or no program at all."""
    hidden = rotate_program(program, seed)
    changes = [
        ("hidden basis", hidden),
        ("padded", rotate_program(pad_program(program, config.pad, seed), seed)),
        ("bfloat16", change_weights(hidden, lambda w: w.bfloat16().float())),
    ]
    draw = torch.Generator().manual_seed(seed)
    for level in config.noise:
        changes.append(
            (
                f"noise {level:g}",
                change_weights(
                    hidden, lambda w, s=level: w + s * w.std() * torch.randn(w.shape, generator=draw)
                ),
            )
        )
    shuffled = change_weights(
        hidden, lambda w: w.flatten()[torch.randperm(w.numel(), generator=draw)].view(w.shape)
    )
    return [*changes, ("shuffled weights", shuffled)]


def change_weights(program: CompiledProgram, change: Callable[[Tensor], Tensor]) -> CompiledProgram:
    """The same program with other weights."""
    model = type(program.model)(program.truth)
    model.load_state_dict({name: change(weight) for name, weight in program.model.state_dict().items()})
    return replace(program, model=model)


def score_reading(program: CompiledProgram) -> dict[str, Any]:
    """What the reader makes of the weights: the outcome, whether all is right, and the share of steps that are."""
    encoding = program.truth["encoding"]
    symbols = [encoding[str(symbol)] for symbol in program.truth["symbols"]]
    try:
        stack = Stack.of_state(program.model.state_dict(), program.truth["heads"])
        reading = read_program(stack, symbols, encoding["BOS"])
    except NoProgram as reason:
        return {"outcome": REFUSED, "right": False, "steps": 0.0, "why": reason.message}
    right, wanted, is_right = match_program(reading, program.truth)
    return {"outcome": READ, "right": is_right, "steps": right / max(wanted, 1)}


def claim_programs(run: Run, table: Any) -> None:
    """Programs that are read fully and rightly in every basis, with a mistake in any, or refused in all, for every change."""
    null = int(table.loc[table["change"] == NULL, "right"].sum())
    programs = table["program"].nunique()
    for change, rows in table[table["change"] != NULL].groupby("change", sort=False):
        name, shares = str(change).replace(" ", "_"), count_outcomes(rows)
        for what in OUTCOMES:
            is_first = what == "right"
            run.claim_share(
                f"{what}/{name}",
                shares[what],
                programs,
                title=f"{OUTCOMES[what]}: {change}",
                null=null / programs if is_first else None,
                null_is=NULL if is_first else "",
                better={"right": "higher", "wrong": "lower"}.get(what, ""),
            )
        run.claim(
            f"steps/{name}",
            float(rows["steps"].mean()),
            kind="share",
            title=f"Steps that are right: {change}",
        )
    noisy = table[table["change"].str.startswith("noise")]
    wrong = noisy[~noisy["right"] & (noisy["outcome"] == READ)]
    run.claim_share(
        "wrong/noisy",
        len(wrong),
        len(noisy),
        title="Noisy networks that are read with a mistake",
        better="lower",
    )


def count_outcomes(rows: Any) -> dict[str, int]:
    """How many programs are right in every basis, wrong in any, and refused otherwise."""
    is_right = rows["right"].astype(bool)
    wrong = (~is_right & (rows["outcome"] == READ)).groupby(rows["program"]).any()
    right = is_right.groupby(rows["program"]).all()
    return {"right": int(right.sum()), "wrong": int(wrong.sum()), REFUSED: int((~right & ~wrong).sum())}


@styled
def draw_programs(table: Any) -> Any:
    """A bar for each thing that was done to the networks, parted by what came of it."""
    changes = list(dict.fromkeys(table["change"]))
    figure, ax = canvas(width=6.4, height=3.2)
    counts = [count_outcomes(table[table["change"] == change]) for change in changes]
    left = [0] * len(changes)
    for what, color in zip(OUTCOMES, (PALETTE[0], PALETTE[1], NULL_COLOR), strict=True):
        ax.barh(
            changes, [count[what] for count in counts], left=left, color=color, label=OUTCOMES[what].lower()
        )
        left = [at + count[what] for at, count in zip(left, counts, strict=True)]
    ax.invert_yaxis()
    ax.set_xlabel("programs")
    ax.xaxis.get_major_locator().set_params(integer=True)  # pyright: ignore
    ax.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.18), ncols=3)
    return figure


# Is what was read what was compiled? Values have no names in a network, so they are matched through the tables.


def match_program(reading: Program, truth: Mapping[str, Any]) -> tuple[int, int, bool]:
    """How many steps of the program are among those that were read, how many there are, and whether that is all of both."""
    steps = {step["name"]: step for step in truth["steps"]}
    values: dict[str, tuple[str, dict[Any, Any]]] = {
        "tokens": ("tokens", {symbol: i for i, symbol in enumerate(truth["symbols"])}),
        "indices": ("indices", {i: i for i in range(len(reading.variables["indices"].vectors))}),
    }
    computed = [step for step in steps.values() if step["op"] not in ("tokens", "indices", "select")]
    used: set[str] = set()
    for step in computed:
        for candidate in _fold_counts(reading):
            matched = (
                None if candidate.output in used else _match_step(step, steps, candidate, reading, values)
            )
            if matched is not None:
                used.add(candidate.output)
                values[step["name"]] = (candidate.output, matched)
                break
    answer = truth["output"]["variable"]
    answered = values.get(answer, ("", {}))[0] == reading.answer
    whole = len(used) == len(computed) == len(_fold_counts(reading)) and answered
    return len(used), len(computed), whole


def _fold_counts(reading: Program) -> list[Step]:
    """A selector's width is two steps in a network (a share of attention, then the number that it means) and one in a program."""
    shares = {step.output: step for step in reading.steps if step.operation == "selector_width"}
    folded = []
    for step in reading.steps:
        if step.operation == "count":
            folded.append(
                Step(
                    "selector_width",
                    step.output,
                    shares[step.inputs[0]].inputs,
                    step.table,
                    shares[step.inputs[0]].selected,
                )
            )
        elif step.output not in shares:
            folded.append(step)
    return folded


def _match_step(
    step: Mapping[str, Any],
    steps: Mapping[str, Mapping[str, Any]],
    candidate: Step,
    reading: Program,
    values: Mapping[str, tuple[str, dict[Any, Any]]],
) -> dict[Any, Any] | None:
    """How the values of a true step's output are called in the candidate; None where the two are not the same step."""
    if step["op"] != candidate.operation:
        return None
    if candidate.selected is not None:
        select = steps[step["args"][0]]
        if not _same_selection(select, candidate, values):
            return None
        if step["op"] == "selector_width":
            return {n: int(kind) for n, kind in enumerate(candidate.table.tolist())}  # pyright: ignore
        name, named = values.get(step["args"][1], ("", {}))
        return named if name == candidate.inputs[2] else None
    arguments = [values.get(name, ("", {})) for name in step["args"]]
    if {name for name, _ in arguments} != set(candidate.inputs) or len(arguments) != len(candidate.inputs):
        return None
    return _match_table(step, candidate, reading, dict(arguments))


def _same_selection(
    select: Mapping[str, Any], candidate: Step, values: Mapping[str, tuple[str, dict[Any, Any]]]
) -> bool:
    """The same pairs of values are selected, of the same two variables."""
    (query, queries), (key, keys) = (values.get(select[of], ("", {})) for of in ("queries", "keys"))
    if (query, key) != candidate.inputs[:2] or candidate.selected is None:
        return False
    pairs = {(k, q) for k, q in map(tuple, select["selected_key_query_pairs"])}
    return all(
        bool(candidate.selected[q_here, k_here]) == ((k, q) in pairs)
        for q, q_here in queries.items()
        for k, k_here in keys.items()
    )


def _match_table(
    step: Mapping[str, Any], candidate: Step, reading: Program, named: Mapping[str, dict[Any, Any]]
) -> dict[Any, Any] | None:
    """The output's values as the candidate has them, where every line of the true table agrees on them.

    `named` has the values of each input under its name in the candidate, in the order of the true step.
    """
    assert candidate.table is not None
    written = reading.variables[candidate.output]
    matched: dict[Any, Any] = {}
    for *inputs, output in _lines_of(step, named):
        states = dict(zip(named, inputs, strict=True))
        at = [_place_of(states[name], named[name], reading.variables[name]) for name in candidate.inputs]
        if None in at:
            return None
        here = candidate.table[tuple(at)].item()
        apart = NEAR if written.is_numerical else 0
        if abs(matched.setdefault(output, here) - here) > apart:
            return None
    return matched if _is_faithful(matched, written) else None


def _lines_of(step: Mapping[str, Any], named: Mapping[str, dict[Any, Any]]) -> list[list[Any]]:
    """The true table; of a weighted sum, its lines for all numbers that the inputs are known to take."""
    if step["op"] != "linear_sequence_map":
        return step["table"]
    (_, first), (_, second) = named.items()
    a, b = step["factors"]
    return [[x, y, a * float(x) + b * float(y)] for x in first for y in second]


def _place_of(value: Any, named: dict[Any, Any], variable: Variable) -> int | None:
    """Where a true value lies along the candidate's axis."""
    if not variable.is_numerical:
        return named.get(value)
    wanted = named.get(value, _scale_of(named) * float(value))
    nearest = min(range(len(variable.numbers)), key=lambda i: abs(variable.numbers[i] - wanted))
    return nearest if abs(variable.numbers[nearest] - wanted) < NEAR else None


def _scale_of(named: Mapping[Any, float]) -> float:
    """A direction has no sign of its own: by what a true number is multiplied along it."""
    largest = max(named, key=lambda value: abs(float(value)), default=0)
    return named[largest] / float(largest) if float(largest) else 1.0


def _is_faithful(matched: Mapping[Any, Any], written: Variable) -> bool:
    """Different values stay different; numbers are the true ones, up to a sign."""
    if not written.is_numerical:
        return len(set(matched.values())) == len(matched)
    scale = _scale_of(matched)
    return abs(abs(scale) - 1) < NEAR and all(abs(matched[v] - scale * float(v)) < NEAR for v in matched)


# The null: whoever is nearest in weights, whatever basis they are in.


def describe_steps(truth: Mapping[str, Any]) -> list[str]:
    """The steps of a program with variables named by their order: two programs are the same where these are."""
    names = {step["name"]: f"v{i}" for i, step in enumerate(truth["steps"])}
    renamed = []
    for step in truth["steps"]:
        parts = {
            key: value
            for key, value in step.items()
            if key in ("op", "table", "factors", "selected_key_query_pairs")
        }
        inputs = [*step.get("args", ()), *(step[key] for key in ("keys", "queries") if key in step)]
        renamed.append(repr((parts, [names[name] for name in inputs])))
    return sorted(renamed)


def find_nearest(program: CompiledProgram, others: list[CompiledProgram]) -> CompiledProgram | None:
    """The other network whose singular values are most like this one's, matrix by matrix: these do not know the basis."""
    rest = [other for other in others if other.name != program.name]
    return min(rest, key=lambda other: float((_print_of(program) - _print_of(other)).norm()), default=None)


def _print_of(program: CompiledProgram, matrices: int = 40, values: int = 20) -> Tensor:
    """Singular values of all matrices in the order of the network, cut or filled up to one size."""
    fingerprint = torch.zeros(matrices, values)
    for row, weight in zip(fingerprint, program.model.state_dict().values()):
        singular = torch.linalg.svdvals(weight)[:values]
        row[: len(singular)] = singular
    return fingerprint
