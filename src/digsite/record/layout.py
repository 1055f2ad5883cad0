"""The run directory: one folder holds everything about one run, and every file in it has one writer."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digsite.base import atomic, ids
from digsite.base.errors import NotFound, UsageError
from digsite.config import yamlio
from digsite.record.status import Status, read_status, write_status

SCHEMA = 1


@dataclass(frozen=True)
class RunDir:
    """Paths of one run; opening or asking for a path writes nothing."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def launch(self) -> Path:
        return self.path / "launch.yaml"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def journal(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def views(self) -> Path:
        return self.path / "views.json"

    @property
    def tables(self) -> Path:
        return self.path / "tables"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def figure_order(self) -> Path:
        """Names of the figures in the order drawn, the telling one first."""
        return self.figures / "order.json"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def error(self) -> Path:
        return self.path / "error.json"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def status(self) -> Status:
        return read_status(self.status_file)

    def plan(self) -> dict[str, Any]:
        """The pinned launch file: schema, study, method, config and how it was started."""
        return read_launch(self.launch)


def create(root: Path, launch: dict[str, Any], *, run_id: str | None = None) -> RunDir:
    """A new run directory in state `planned`; the launch file is the last to appear, so half a run is no run."""
    study = launch["study"]
    folder = root / study
    run = RunDir(folder / run_id) if run_id else _fresh(folder)
    prepare_root(root)
    with _explained(root, "write below"):
        run.path.mkdir(parents=True, exist_ok=run_id is not None)
        write_status(
            run.status_file,
            Status(state="planned", study=study, id=run.id, seed=launch["config"].get("seed")),
        )
        atomic.write_text(run.launch, yamlio.dumps({"schema": SCHEMA, **launch}))
    return run


@contextmanager
def _explained(root: Path, wish: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        message = f"No permission to {wish} '{root}'."
        raise UsageError(message, hint="Choose another place with --runs DIR.") from None


def _fresh(folder: Path) -> RunDir:
    while (run := RunDir(folder / ids.new_id())).path.exists():
        pass
    return run


def prepare_root(root: Path) -> None:
    """Runs are results, not sources: a new root ignores itself in git."""
    if not root.exists():
        with _explained(root, "create"):
            root.mkdir(parents=True)
            (root / ".gitignore").write_text("*\n")


def read_launch(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFound(
            f"'{path.parent}' is not a run directory: it has no {path.name}.", hint="List runs: digsite ls"
        )
    launch = yamlio.load(path)
    schema = launch.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise UsageError(
            f"'{path.parent}' has schema {schema!r}, but this digsite reads up to {SCHEMA}.",
            hint="Upgrade it: pip install -U digsite",
        )
    missing = {"study", "method", "config"} - launch.keys()
    if missing:
        raise UsageError(
            f"'{path}' is half written: it lacks {', '.join(sorted(missing))}.", hint="Start the run anew."
        )
    return launch
