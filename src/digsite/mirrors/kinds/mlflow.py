"""MLflow: the tracking server of MLFLOW_TRACKING_URI, or a store that MLflow makes here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from digsite.base.errors import require_package
from digsite.mirrors.mirror import settings_of
from digsite.record.layout import RunDir

PARAMETER_LIMIT = 500  # characters; MLflow refuses longer values

NEEDS = ("mlflow", "mlflow")  # the tracker's package, and the extra that brings it


class MlflowMirror:
    def __init__(self, run: RunDir, project: str) -> None:
        mlflow: Any = require_package("mlflow", extra="mlflow")
        self.client: Any = mlflow.MlflowClient()
        found = self.client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self.client.create_experiment(project)
        tags = {"digsite.run": run.id, "digsite.study": run.status().study}
        self.id = self.client.create_run(experiment, tags=tags, run_name=run.id).info.run_id
        for key, value in settings_of(run).items():
            self.client.log_param(self.id, key, str(value)[:PARAMETER_LIMIT])

    def values(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.client.log_metric(self.id, name, value, step=step)

    def figure(self, name: str, path: Path) -> None:
        self.client.log_artifact(self.id, str(path), "figures")

    def table(self, name: str, path: Path) -> None:
        self.client.log_artifact(self.id, str(path), "tables")

    def claims(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.client.log_metric(self.id, name, value)

    def answer(self, question: str, verdict: str, hero: Path | None) -> None:
        """MLflow shows its own note first on a run's page."""
        self.client.set_tag(self.id, "mlflow.note.content", f"**{question}**\n\n{verdict}")
        if hero:
            self.client.log_artifact(self.id, str(hero), "hero")

    def close(self, failed: bool) -> None:
        self.client.set_terminated(self.id, status="FAILED" if failed else "FINISHED")


def open_mirror(run: RunDir, project: str) -> MlflowMirror:
    return MlflowMirror(run, project)
