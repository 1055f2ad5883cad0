"""The trackers that a run can be copied to: Weights & Biases, MLflow and TensorBoard."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from digsite.base import settings
from digsite.base.errors import DigsiteError, require_package
from digsite.mirrors.follow import COLUMNS, Mirror, claim_numbers, claim_rows, settings_of, tags_of
from digsite.record.layout import RunDir
from digsite.record.results import Results

PARAMETER_LIMIT = 500  # characters; MLflow refuses longer values on servers before 2.9, newer ones take 6,000
BATCH = 900  # numbers in one request; MLflow refuses more than 1,000
TAG_LIMIT = 64  # characters; W&B refuses longer tags
ROWS_SHOWN = 200  # of a table that TensorBoard gets as text


class Wandb(Mirror):
    """Weights & Biases; WANDB_MODE=offline writes files that `wandb sync` uploads later."""

    NEEDS = ("wandb", "wandb")

    def __init__(self, run: RunDir, project: str) -> None:
        self.wandb: Any = require_package("wandb", extra="wandb")
        status = run.status()
        self.run: Any = self.wandb.init(
            project=project,
            id=run.id,
            name=f"{status.study} {run.id}",
            group=status.study,
            tags=[tag[:TAG_LIMIT] for tag in tags_of(run)],
            config=settings_of(run),
            dir=str(run.path),
            resume="allow",
            mode="offline" if settings.is_offline() else None,
            settings=self.wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        # Our steps may come in any order (several phases of one run), which W&B's own counter does not allow.
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def add_figure(self, name: str, path: Path) -> None:
        self.run.log({f"figures/{name}": self.wandb.Image(str(path))})

    def add_table(self, name: str, path: Path) -> None:
        import pandas as pd

        frame = pd.read_csv(path).astype(object)
        rows = frame.where(frame.notna(), None).to_numpy().tolist()
        self.run.log({f"tables/{name}": self.wandb.Table(columns=list(frame), data=rows)})

    def add_claims(self, results: Results) -> None:
        self.run.summary.update(claim_numbers(results))
        self.run.log({"claims": self.wandb.Table(columns=list(COLUMNS), data=claim_rows(results))})

    def add_answer(self, question: str, verdict: str, hero: Path | None) -> None:
        self.run.notes = f"{question}\n\n{verdict}"
        self.run.summary.update({"question": question, "verdict": verdict})
        if hero:
            self.run.log({"hero": self.wandb.Image(str(hero))})

    def close_run(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))

    def say_where(self) -> str:
        return (
            self.run.url or f"{Path(self.run.dir).parent} (upload it: wandb sync {Path(self.run.dir).parent})"
        )


class Mlflow(Mirror):
    """MLflow: the tracking server of MLFLOW_TRACKING_URI, or a store that MLflow makes here."""

    NEEDS = ("mlflow", "mlflow")

    def __init__(self, run: RunDir, project: str) -> None:
        mlflow: Any = require_package("mlflow", extra="mlflow")
        self.entities: Any = mlflow.entities
        self.client: Any = mlflow.MlflowClient()
        try:
            experiment = self.client.get_experiment_by_name(project)
            self.experiment = (
                experiment.experiment_id if experiment else self.client.create_experiment(project)
            )
            tags = {"digsite.run": run.id, "digsite.study": run.status().study}
            tags |= {f"digsite.tag.{make_legal(tag)}": "true" for tag in tags_of(run)}
            tags["digsite.tags"] = ", ".join(tags_of(run))
            self.id = self.client.create_run(self.experiment, tags=tags, run_name=run.id).info.run_id
        except Exception as error:  # whatever a server can answer is no fault of the run
            words = " ".join(str(error).split())[:200]
            uri = mlflow.get_tracking_uri()
            raise DigsiteError(
                f"MLflow at '{uri}' did not take the run: {words}", hint="Look at MLFLOW_TRACKING_URI."
            ) from None
        pairs = {make_legal(key): str(value)[:PARAMETER_LIMIT] for key, value in settings_of(run).items()}
        params = [self.entities.Param(key, value) for key, value in pairs.items()]
        for start in range(0, len(params), 100):  # the most that one request may hold
            self.client.log_batch(self.id, params=params[start : start + 100])

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        numbers = [
            self.entities.Metric(make_legal(name), float(v), 0, int(step)) for name, v in values.items()
        ]
        for start in range(0, len(numbers), BATCH):
            self.client.log_batch(self.id, metrics=numbers[start : start + BATCH])

    def add_figure(self, name: str, path: Path) -> None:
        self.client.log_artifact(self.id, str(path), "figures")

    def add_table(self, name: str, path: Path) -> None:
        self.client.log_artifact(self.id, str(path), "tables")

    def add_claims(self, results: Results) -> None:
        self.log_values(0, claim_numbers(results))
        text = io.StringIO()
        csv.writer(text).writerows([COLUMNS, *claim_rows(results)])
        self.client.log_text(self.id, text.getvalue(), "claims.csv")

    def add_answer(self, question: str, verdict: str, hero: Path | None) -> None:
        """MLflow shows its own note first on a run's page."""
        self.client.set_tag(self.id, "mlflow.note.content", f"**{question}**\n\n{verdict}")
        if hero:
            self.client.log_artifact(self.id, str(hero), "hero")

    def close_run(self, failed: bool) -> None:
        self.client.set_terminated(self.id, status="FAILED" if failed else "FINISHED")

    def say_where(self) -> str:
        uri = str(self.client.tracking_uri)
        page = f"/#/experiments/{self.experiment}/runs/{self.id}"
        return f"{uri.rstrip('/')}{page}" if uri.startswith("http") else f"{uri}, run {self.id}"


class Tensorboard(Mirror):
    """TensorBoard event files inside the run directory, written without TensorBoard."""

    NEEDS = ("tensorboardX", "tensorboard")

    def __init__(self, run: RunDir, project: str) -> None:
        self.folder = run.path / "tensorboard"
        writer = require_package("tensorboardX", extra="tensorboard").SummaryWriter
        self.writer: Any = writer(str(self.folder))
        text = "\n".join(f"    {key}: {value}" for key, value in settings_of(run).items())
        self.writer.add_text("config", text)
        self.writer.add_text("tags", ", ".join(tags_of(run)))

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def add_figure(self, name: str, path: Path) -> None:
        import matplotlib.image

        pixels = matplotlib.image.imread(path)[..., :3]
        self.writer.add_image(f"figures/{name}", pixels, 0, dataformats="HWC")

    def add_table(self, name: str, path: Path) -> None:
        rows = list(csv.reader(io.StringIO(path.read_text())))
        self.writer.add_text(f"tables/{name}", as_markdown(rows[:ROWS_SHOWN]))

    def add_claims(self, results: Results) -> None:
        for name, value in claim_numbers(results).items():
            self.writer.add_scalar(name, value, 0)
        self.writer.add_text("claims", as_markdown([COLUMNS, *claim_rows(results)]))

    def add_answer(self, question: str, verdict: str, hero: Path | None) -> None:
        self.writer.add_text("answer", f"**{question}**\n\n{verdict}")
        if hero:
            import matplotlib.image

            self.writer.add_image("hero", matplotlib.image.imread(hero)[..., :3], 0, dataformats="HWC")

    def close_run(self, failed: bool) -> None:
        self.writer.close()

    def say_where(self) -> str:
        return f"{self.folder} (watch it: tensorboard --logdir {self.folder})"


def make_legal(name: str) -> str:
    """A name as MLflow takes it: letters, digits and `_-. :/`; it refuses a whole batch for one other character."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:250]


def as_markdown(rows: Sequence[Sequence[Any]]) -> str:
    """A table with its head first, for trackers that show text alone; a bar inside a cell would end it."""
    cells = [["" if cell is None else str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], ["---"] * len(cells[0]), *cells[1:]])
