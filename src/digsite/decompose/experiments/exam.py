"""The exam: contestants decompose compiled programs whose truth is known, and what they hand in is scored."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from digsite.base.errors import DigsiteError, UsageError
from digsite.decompose.config import ExamConfig
from digsite.decompose.figures.toys import draw_marks
from digsite.decompose.judge.contestants import enter_contestant
from digsite.decompose.judge.exam.marks import COLUMNS, SCORES, Row, average_score, count_passed, mark_entry
from digsite.decompose.subjects import groups, targets, verified
from digsite.decompose.subjects.compiled import (
    NAMED,
    CompiledProgram,
    compress_program,
    known_programs,
    load_program,
    pad_program,
    rotate_program,
)
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from digsite.worker.run import Run

QUESTIONS = {
    "unmasked": "programs with 99 % of all inputs right, every part on",
    "rounded": "programs with 99 % of all inputs right, important parts alone",
    "worst": "programs with 99 % of all inputs right under the longest attack on the masks",
    "dead_silent": "programs with nothing alive where nothing is done",
    "pure": "programs whose parts are as pure as singular vectors of the true rank",
}
ADDS_UP = 0.01  # largest entry of the weights that parts may leave out before it is said
NULLS = {"use": "use_chance", "graph_precision": "graph_chance"}


def study_exam(config: ExamConfig, run: Run) -> None:
    """Every contestant on every program and rotation: a table, a figure, and marks beside those of random directions."""
    names = list_programs(config.programs)
    cells = [(who, name, k) for k in range(config.rotations) for name in names for who in config.contestants]
    rows: list[Row] = []
    for done, (who, name, k) in enumerate(cells):
        rotation = config.seed + k + 1
        key = f"{name}-{rotation}-{who.replace(':', '.')}"
        rows.append(run.once(key, lambda: sit_exam(config, who, name, rotation), announce=False))  # noqa: B023
        run.cost(key, rows[-1]["cpu_s"])
        write_exam_table(config, run, rows)  # after every entry: a long exam can be read while it runs
        run.log(done + 1, entries=done + 1)
        run.let_signals_in()
    longest = f"worst_{max(config.ladder)}"
    rows = [{**row, "worst": row.get(longest, float("nan"))} for row in rows]
    run.table("columns", {"column": list(COLUMNS), "meaning": list(COLUMNS.values())})
    claim_marks(config, run, rows)
    run.figure(
        "exam",
        draw_exam(config.contestants, names, rows),
        caption="Left: programs that each contestant passes in every rotation, question by question, and its parts in use "
        "beside those of random directions. Right: how many of the five questions it passes, program by program.",
    )
    run.view("exam", kind="table", source="tables/exam.csv")
    first = config.contestants[0]
    run.headline([f"passed/{question}/{first}" for question in list(QUESTIONS)[:5]], hero="exam")
    run.verdict(tell_exam(config, rows))


def list_programs(wanted: list[str]) -> list[str]:
    """Program names, with `all`, `named`, `groups` and `toys` spelled out."""
    known = known_programs()
    sets = {
        "all": known,
        "named": [n for n in NAMED if n in known],
        "groups": list(groups.GROUPS),
        "toys": list(targets.TOYS),
    }
    return list(dict.fromkeys(program for name in wanted for program in sets.get(name, [name])))


def sit_exam(config: ExamConfig, who: str, name: str, rotation: int) -> Row:
    """One row: what a contestant made of a program in one rotation, or why it has no scores."""
    program = prepare_program(config, name, rotation)
    row: Row = {"contestant": who, "program": program.name, "rotation": rotation, "failed": "", "cpu_s": 0.0}
    start = time.process_time()
    try:
        with stop_after(config.budget):
            entry = enter_contestant(who, program, rotation, config.steps)
        row["cpu_s"] = time.process_time() - start
        if row["cpu_s"] > config.budget:
            raise OverBudget(f"It took longer than its budget of {config.budget:.3g} CPU seconds.")
        return row | mark_entry(entry, config.ladder, config.exhaustive)
    except DigsiteError as error:
        row["cpu_s"] = row["cpu_s"] or time.process_time() - start
        if who.startswith("py:") or isinstance(error, OverBudget):
            return row | {"failed": str(error)}
        raise


class OverBudget(DigsiteError):
    """An entry took more CPU seconds than it may: no user's mistake that somebody on the way might forgive."""


@contextmanager
def stop_after(seconds: float) -> Iterator[None]:
    """Stop what runs inside when it has used so many CPU seconds, whether it ever ends or not.

    By a timer on the processor time of the main thread's process; elsewhere nobody is stopped, and whoever took too long is
    told so afterwards.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise OverBudget(f"It was stopped at its budget of {seconds:.3g} CPU seconds.")

    before = signal.signal(signal.SIGPROF, stop)
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # and again each second, should somebody catch it
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def prepare_program(config: ExamConfig, name: str, rotation: int) -> CompiledProgram:
    """A program with its basis hidden."""
    trained = name in (verified.NAME, *groups.GROUPS, *targets.TOYS)
    if trained and (config.pad or config.compress):
        raise UsageError(
            f"'{name}' was trained, and cannot be padded or compressed.",
            hint="Compiled programs can: pad=0 compress=false here.",
        )
    if name == verified.NAME:
        return verified.rotate_network(verified.load_verified(), rotation)
    if name in groups.GROUPS:
        return groups.rotate_group(groups.load_group(name), rotation)
    if name in targets.TOYS:
        return targets.load_toy(name, rotation)
    program = load_program(name, most_inputs=config.most_inputs)
    if config.compress:
        program = compress_program(program)
    if config.pad:
        program = pad_program(program, config.pad, rotation)
    return rotate_program(program, rotation)


def write_exam_table(config: ExamConfig, run: Run, rows: list[Row]) -> None:
    """Grows row by row, so a killed exam has its rows."""
    keys = [key for key in list_columns(config) if any(key in row for row in rows)]
    run.table("exam", {key: [row.get(key) for row in rows] for key in keys}, grows=True)


def list_columns(config: ExamConfig) -> list[str]:
    """One column for each rung of the adversary's ladder."""
    worst = [f"worst_{steps}" for steps in config.ladder]
    return [c for key in COLUMNS for c in (worst if key == "worst_N" else [key])]


def claim_marks(config: ExamConfig, run: Run, rows: list[Row]) -> None:
    """Programs passed by each contestant on each question, beside those that random directions pass."""
    nulls = {key: average_score(rows, "random", key, None) for key in SCORES}
    for who in config.contestants:
        for question, words in QUESTIONS.items():
            mark = count_passed(rows, who, question)
            null = count_passed(rows, "random", question).value if "random" in config.contestants else None
            run.claim_share(
                f"passed/{question}/{who}",
                round(mark.value * mark.n),
                mark.n,
                null=null,
                null_is="random directions",
                better="higher",
                title=f"'{who}': {words}",
                note="share of programs, in every rotation",
            )
        for key in SCORES:
            chance = average_score(rows, who, NULLS[key], None) if key in NULLS else nulls[key]
            mark = average_score(rows, who, key, chance.value if chance else None)
            if mark is not None:
                null = "agreement or precision by chance" if key in NULLS else "random directions"
                run.claim(
                    f"{key}/{who}",
                    mark.value,
                    low=mark.low,
                    high=mark.high,
                    n=mark.n,
                    null=mark.null,
                    null_is=null,
                    title=f"'{who}': {COLUMNS[key]}",
                    note="mean over programs and rotations",
                )


def draw_exam(who: list[str], names: list[str], rows: list[Row]) -> Figure:
    """Marks of each contestant, by question and by program."""
    passed = {w: {q: count_passed(rows, w, q).value for q in QUESTIONS} for w in who}
    by_program = {
        w: {
            name: sum(
                count_passed([r for r in rows if r["program"] == name], w, q).value == 1 for q in QUESTIONS
            )
            for name in names
        }
        for w in who
    }
    used = {w: average_score(rows, w, "l0", None) for w in who}
    null = used.get("random")
    share = {w: mark.value / null.value if mark and null else float("nan") for w, mark in used.items()}
    return draw_marks(passed, share, by_program)


def tell_exam(config: ExamConfig, rows: list[Row]) -> str:
    """What the first contestant passes, and the strongest of the others in the same question."""
    first, *others = config.contestants

    def passed(question: str, who: str = first) -> str:
        return cite(f"passed/{question}/{who}", "hits")

    text = (
        f"Of {cite(f'passed/rounded/{first}', 'n')} programs with a hidden basis, the important parts of '{first}' alone "
        f"answer rightly in {passed('rounded')}, all its parts in {passed('unmasked')}, and parts under the longest attack "
        f"in {passed('worst')}; nothing is alive where nothing is done in {passed('dead_silent')}; its parts are as pure "
        f"as singular vectors in {passed('pure')}."
    )
    trained = [who for who in others if who in ("spd", "successor") or who.startswith("py:")]
    if trained:
        best = max(trained, key=lambda who: count_passed(rows, who, "rounded").value)
        text += (
            f" The best of the other trained ones, '{best}', answers rightly in {passed('rounded', best)}."
        )
    return text + tell_faults(rows)


def tell_faults(rows: list[Row]) -> str:
    """What a reader must know before the marks are believed: entries without scores, parts that do not add up, samples."""
    scored = [row for row in rows if not row["failed"]]
    failed = [f"'{row['contestant']}' on '{row['program']}'" for row in rows if row["failed"]]
    apart = dict.fromkeys(f"'{row['contestant']}'" for row in scored if row["error"] > ADDS_UP)
    sampled = dict.fromkeys(f"'{row['program']}'" for row in scored if not row["whole_domain"])
    text = f" Not scored: {failed[0]} (table 'exam' says why)." if failed else ""
    if apart:
        text += f" Parts that do not add up to the weights, scored as they are: {', '.join(apart)}."
    return text + (f" Inputs were sampled, not all tried: {', '.join(sampled)}." if sampled else "")
