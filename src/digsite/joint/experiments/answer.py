"""What a verb answered about a model of one's own, as a run: its tables, its numbers, and its sentences as the verdict.

It is started after each verb, so it imports what it needs and none of the rooms.
"""

import math
from typing import Any

import pandas as pd

from digsite.base import atomic
from digsite.joint.config import AnswerConfig
from digsite.record.verdict import find_numbers
from digsite.worker.run import Run

SENTENCES = 6  # of an answer that the verdict holds


def study_answer(config: AnswerConfig, run: Run) -> None:
    """`answer.json` lies in the run before it starts: the verb has computed and shown it already."""
    answer: dict[str, Any] = atomic.read_json(run.directory.artifacts / "answer.json", default={})
    for name, rows in answer.items():
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            if name == "answers":  # what `read` asks of every model: shown question by question
                run.table("questions", pd.DataFrame(rows).rename(columns={"sureness": "beside"}))
                continue
            run.table(name, pd.DataFrame(rows))
            run.view(
                name, kind="table", source=f"tables/{name}.csv", caption=f"digsite {config.verb}: {name}"
            )
    for name, value in answer.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            run.claim(name, float(value), title=f"{name.replace('_', ' ')}, as '{config.verb}' says")
    said = " ".join(answer.get("said", [])[:SENTENCES])
    claim_numbers(run, "said", said, config.verb)
    run.verdict(said)


def claim_numbers(run: Run, name: str, text: str, title: str) -> None:
    """Keep every number of a sentence as a measurement of the run: a verdict may only say what the run has kept."""
    for position, number in enumerate(find_numbers(text)):
        run.claim(f"{name}/said/{position}", number, title=f"a number of the sentence on {title}")
