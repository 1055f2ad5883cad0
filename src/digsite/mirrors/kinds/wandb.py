"""Weights & Biases; WANDB_MODE=offline writes files that `wandb sync` uploads later."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from digsite.base import settings
from digsite.base.errors import require_package
from digsite.mirrors.mirror import settings_of
from digsite.record.layout import RunDir

NEEDS = ("wandb", "wandb")  # the tracker's package, and the extra that brings it


class WandbMirror:
    def __init__(self, run: RunDir, project: str) -> None:
        self.wandb: Any = require_package("wandb", extra="wandb")
        status = run.status()
        self.run: Any = self.wandb.init(
            project=project,
            id=run.id,
            name=f"{status.study} {run.id}",
            group=status.study,
            config=settings_of(run),
            dir=str(run.path),
            resume="allow",
            mode="offline" if settings.is_offline() else None,
            settings=self.wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        # Our steps may come in any order (several phases of one run), which W&B's own counter does not allow.
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def figure(self, name: str, path: Path) -> None:
        self.run.log({f"figures/{name}": self.wandb.Image(str(path))})

    def table(self, name: str, path: Path) -> None:
        import pandas as pd

        frame = pd.read_csv(path).astype(object)
        rows = frame.where(frame.notna(), None).to_numpy().tolist()
        self.run.log({f"tables/{name}": self.wandb.Table(columns=list(frame), data=rows)})

    def claims(self, values: Mapping[str, float]) -> None:
        self.run.summary.update(dict(values))

    def answer(self, question: str, verdict: str, hero: Path | None) -> None:
        self.run.notes = f"{question}\n\n{verdict}"
        self.run.summary.update({"question": question, "verdict": verdict})
        if hero:
            self.run.log({"hero": self.wandb.Image(str(hero))})

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


def open_mirror(run: RunDir, project: str) -> WandbMirror:
    return WandbMirror(run, project)
