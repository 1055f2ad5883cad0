"""Language models: a target that speaks the story language, or any causal model by reference, decomposed and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digsite.decompose.config import LmConfig
from digsite.decompose.experiments import tokens as run_tokens
from digsite.decompose.judge import verdict as report
from digsite.decompose.subjects import lm_targets
from digsite.decompose.subjects.tasks import Task
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


def lm(config: LmConfig, run: Run) -> None:
    task = prepare(config, run)
    members = run_tokens.decompose(config, task, run)
    rows = run_tokens.tell(config, task, run, members)
    ce = report.summarize(rows, "ce/target")
    floor: dict[str, Any] = {
        "null": task.floor,
        "null_is": "the story grammar's own entropy, which no model beats",
    }
    run.claim(
        "ce/target",
        ce.value,
        interval=ce,
        kind="median",
        unit="nats",
        better="lower",
        title="Cross-entropy of the target per token",
        **(floor if task.floor is not None else {}),  # pyright: ignore[reportArgumentType]
    )
    run.verdict(
        f"{run_tokens.verdict(rows)} The target answers at {cite('ce/target', style='.2f')} nats per token."
    )


def prepare(config: LmConfig, run: Run) -> Task:
    if config.model:
        return lm_targets.loaded_task(config)
    state = run.once("target", lambda: lm_targets.train_on_stories(config, run.derive("target") % 2**31))
    return lm_targets.story_task(config, state)
