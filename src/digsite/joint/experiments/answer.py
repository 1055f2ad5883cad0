"""What a verb answered about a model of one's own, as a run: its tables, its numbers, and its sentences as the verdict."""

import math
from typing import Any

import pandas as pd

from digsite.base import atomic
from digsite.joint.config import AnswerConfig
from digsite.joint.experiments.collection import claim_numbers
from digsite.worker.run import Run

SENTENCES = 6  # of an answer that the verdict holds


def study_answer(config: AnswerConfig, run: Run) -> None:
    """`answer.json` lies in the run before it starts: the verb has computed and shown it already."""
    answer: dict[str, Any] = atomic.read_json(run.directory.artifacts / "answer.json", default={})
    for name, rows in answer.items():
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
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
