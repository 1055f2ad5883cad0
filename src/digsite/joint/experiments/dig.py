"""`digsite dig MODEL`: the questions that a person asks of a model, in their order, answered within a time."""

import math
import textwrap
import time
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from digsite.base import families
from digsite.base.errors import DigsiteError
from digsite.figures import NULL_COLOR, PALETTE, canvas, styled
from digsite.joint.config import DigConfig
from digsite.joint.core.statements import FACT, Allowance, Answer, Statement, skip
from digsite.joint.experiments.answer import claim_numbers
from digsite.joint.experiments.collection import dig_collection
from digsite.joint.subjects.model import Subject
from digsite.models.opening import one_sentence, quiet_libraries
from digsite.worker.run import Run

BLOCKS = "digsite.joint.judge.blocks"
SMALLEST = 1e-12  # p-values: what is rarer is drawn here


def study_dig(config: DigConfig, run: Run) -> None:
    """Each question is asked once and its answer kept, so that a resumed run goes on with the next one."""
    if dig_collection(config, run):
        return
    subject = Subject(config.model, config.text, config.data, config.relatives, config.seed, config.steps)
    subject.opened  # noqa: B018 - what cannot be opened ends the run before anything is asked
    members = sorted(families.scan_family(BLOCKS).items(), key=lambda item: item[1].ORDER)
    asked = [(name, member) for name, member in members if name not in config.skip]
    spent, rows, answers = 0.0, [], []
    for position, (name, member) in enumerate(asked):
        weights = sum(later.WEIGHT for _, later in asked[position:])
        allowance = Allowance(config.seconds - spent).share(member.WEIGHT, weights)
        kept = run.once(name, lambda m=member, a=allowance: _ask(m, subject, a))
        spent += kept["seconds"]
        answer = Answer(
            tuple(Statement(**statement) for statement in kept["statements"]), kept["skipped"], kept["tables"]
        )
        answers.append((name, member, answer))
        rows += [{"question": member.QUESTION, **statement.as_row()} for statement in answer.statements]
        _write(run, name, member, answer)
    run.table("answers", pd.DataFrame(rows))
    run.table("questions", pd.DataFrame([_line(*statement) for statement in answers]))
    tested = [
        statement for _, _, answer in answers for statement in answer.statements if statement.p is not None
    ]
    if tested:
        run.figure(
            "summary",
            draw_summary(tested),
            pd.DataFrame(rows),
            caption="How often the null gives as much as was found, for every statement with a p-value: the farther right, the rarer.",
        )
    run.headline(_headline(answers), hero="summary" if tested else "")
    run.verdict(_paragraph(run, answers))


def _ask(member: Any, subject: Subject, allowance: Allowance) -> dict[str, Any]:
    """One block's answer as plain values; what fails in it is a sentence, and the other questions are asked."""
    before = time.process_time()
    try:
        with quiet_libraries(), one_sentence(f"Asking '{member.QUESTION}'"):
            answer = (
                member.examine(subject, allowance) if not allowance.is_used else skip("the time was used up")
            )
    except DigsiteError as error:
        answer = skip(f"it could not be answered: {error}")
    return {
        "statements": [vars(statement) for statement in answer.statements],
        "skipped": answer.skipped,
        "tables": answer.tables,
        "seconds": round(time.process_time() - before, 1),
    }


def _write(run: Run, name: str, member: Any, answer: Answer) -> None:
    for table, rows in answer.tables.items():
        if rows:
            run.table(table, pd.DataFrame(rows))
            run.view(table, kind="table", source=f"tables/{table}.csv", caption=member.QUESTION)
    for statement in answer.statements:
        if statement.value is None:
            continue
        run.claim(
            f"{name}/{statement.key}",
            statement.value,
            low=statement.low,
            high=statement.high,
            n=statement.n,
            null=statement.null,
            null_is=statement.beside,
            p=statement.p,
            unit=statement.unit,
            better=statement.better,
            title=statement.title[:1].upper() + statement.title[1:],
            note=statement.text,
        )


def _line(name: str, member: Any, answer: Answer) -> dict[str, Any]:
    """One question as its page shows it: all that was said, what it stands beside, or why nothing was said, and where it goes on."""
    beside = dict.fromkeys(s.beside for s in answer.statements if s.beside != FACT)
    return {
        "question": member.QUESTION,
        "answer": " ".join(statement.text for statement in answer.statements),
        "beside": "; ".join(beside),
        "unanswered": answer.skipped,
        "next": member.DEEPER,
    }


def _headline(answers: list[tuple[str, Any, Answer]]) -> list[str]:
    """The first quoted statement with a value of each question, five at most."""
    said = [
        f"{name}/{statement.key}"
        for name, _, answer in answers
        for statement in answer.statements
        if statement.quote and statement.value is not None
    ]
    first = {key.partition("/")[0]: key for key in reversed(said)}
    return list(first.values())[::-1][:5]


def _paragraph(run: Run, answers: list[tuple[str, Any, Answer]]) -> str:
    """What a person can quote. Whatever number stands in it is kept as a measurement of this run under its sentence."""
    sentences = []
    for name, _, answer in answers:
        for statement in (s for s in answer.statements if s.quote):
            sentences.append(statement.text)
            claim_numbers(run, f"{name}/{statement.key}", statement.text, statement.title)
    unanswered = [f"'{m.QUESTION}'" for _, m, a in answers if not a.statements]
    why = f" Not answered, for reasons in the table of questions: {', '.join(unanswered)}."
    return " ".join(sentences) + (why if unanswered else "")


@styled
def draw_summary(lines: list[Statement]) -> Figure:
    """A dot is a statement with a p-value, how often its null gives as much; the line at 0.05 is where chance is left behind.
    Statements without one have their numbers in the tables."""
    figure, ax = canvas(width=6.4, height=1.2 + 0.42 * len(lines))
    for position, statement in enumerate(lines):
        strength = -math.log10(max(statement.p or 0.0, SMALLEST))
        ax.plot([0, strength], [position, position], color=NULL_COLOR, linewidth=1, zorder=1)
        ax.plot(
            strength, position, "o", color=PALETTE[0] if (statement.p or 0.0) < 0.05 else NULL_COLOR, zorder=3
        )
    ax.axvline(-math.log10(0.05), color="black", linewidth=0.8, linestyle="--")
    ax.set_yticks(range(len(lines)), [textwrap.fill(statement.title, 34) for statement in lines])
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.set_xlim(0, -math.log10(SMALLEST) + 0.5)
    ax.set(xlabel="how rare under the null: -log10 p, corrected (dashed: 0.05)")
    return figure
