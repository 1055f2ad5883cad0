"""What does it know, and was a class planted: a trained reader's answers where one fits, and the scan of the output layer."""

from typing import Any

from digsite.base.errors import DigsiteError
from digsite.joint.core.statements import Allowance, Answer, Statement, skip
from digsite.joint.subjects.model import Subject
from digsite.read.api import read_model
from digsite.read.judge.answers import PLANTED, UNTOLD

ORDER, QUESTION, WEIGHT = 4, "What does it know, and was something planted?", 1.0
DEEPER = "digsite run nwa"
LARGEST = 5_000_000  # parameters of the networks that readers have seen, with room to spare


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """Predictions stand only for networks like those of the reader's zoo; a stranger gets none."""
    size = subject.size
    if size > LARGEST:
        return skip(
            f"readers were trained on networks of at most {LARGEST:,} parameters, and it has {size:,}"
        )
    try:
        reading = read_model(
            subject.reference if subject.opened.bundle is not None else subject.opened.module
        )
    except DigsiteError as error:
        return skip(f"it could not be read as a network: {error}")
    planted = _say_planted(reading["answers"])
    if why := _why_no_reader(reading):
        return Answer(planted, why)
    beside = "90 % intervals and sets hold in 90 % of networks like the reader's own; an answer of a reader has no null"
    statements = [
        Statement(
            f"reads/{row['property']}",
            row["property"].replace("_", " "),
            f"{row['what'][0].upper()}{row['what'][1:]}: {_value(row)}.",
            beside,
            row["value"] if isinstance(row["value"], float) else None,
            row["low"],
            row["high"],
            quote=row["property"] == "test_accuracy",
        )
        for row in reading["predictions"]
    ]
    return Answer((*statements, *planted), tables={"predictions": reading["predictions"]})


def _why_no_reader(reading: dict[str, Any]) -> str:
    """Empty where the shipped reader's answers stand."""
    if not reading["predictions"]:
        return (reading["notes"] or ["no shipped reader knows networks of this shape"])[-1].rstrip(".")
    if not reading.get("in_zoo", False):
        return "the shipped reader was trained on other networks, so that its answers would mean nothing here"
    return ""


def _say_planted(answers: list[dict[str, Any]]) -> tuple[Statement, ...]:
    """What the scan of the output layer says of a classifier; of other models it says nothing."""
    text, p = next((row["answer"], row["p"]) for row in answers if row["question"] == PLANTED)
    if text.startswith(UNTOLD):
        return ()
    beside = "clean networks of so many classes" + (
        "" if p is not None else "; nothing is claimed, so that it has no null"
    )
    text = f"Was a class planted? {text[0].upper()}{text[1:]}"
    return (
        Statement(
            "planted", "a class that stands out in the output layer", text, beside, p=p, quote=p is not None
        ),
    )


def _value(row: dict) -> str:
    if isinstance(row["value"], float) and row["low"] is not None:
        return f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
    return f"{row['value']} (90 % set: {row['90 % set']})"
