"""The run directory: one folder holds everything about one run, and every file in it has one writer."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digsite.base import atomic, stored, streams
from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.base.stored import Damaged
from digsite.config import yamlio
from digsite.record.journal import CLOCK
from digsite.record.status import Status, read_status, write_status

SCHEMA = 2  # 2: the last line of launch.yaml is a digest of the others
_LAUNCH_LIMIT = 1_000_000  # bytes
_SEAL = "seal: "

# What depends on the clock, the host or the way a run was started lies in these files and nowhere else: two equal runs
# agree in every other byte, also after kills. Checkpoints and the report are made from the rest and can be made again.
CIRCUMSTANCES = (
    "status.json",
    "provenance.json",
    CLOCK,
    "run.log",
    "error.json",
    "report.html",
    "marks.json",
)


@dataclass(frozen=True)
class RunDir:
    """Paths of one run; opening or asking for a path writes nothing."""

    path: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def launch(self) -> Path:
        """What is to be run, pinned; written once."""
        return self.path / "launch.yaml"

    @property
    def provenance(self) -> Path:
        """Where it came from."""
        return self.path / "provenance.json"

    @property
    def status_file(self) -> Path:
        """How far it is."""
        return self.path / "status.json"

    @property
    def journal(self) -> Path:
        """What it measures."""
        return self.path / "metrics.jsonl"

    @property
    def clock(self) -> Path:
        """When the lines of the journal were written, and what parts of the work took."""
        return self.path / CLOCK

    @property
    def results(self) -> Path:
        """What it found."""
        return self.path / "results.json"

    @property
    def views(self) -> Path:
        """What of it the dashboard shows."""
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
        """States that a resumed run goes on from."""
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
        """The pinned launch file: schema, study, method, config and how it was started; refused when damaged."""
        return read_launch(self.launch)

    def read_asked(self) -> dict[str, Any] | Damaged:
        """The same, or the reason why it cannot be believed; for whoever only shows it."""
        try:
            return read_launch(self.launch)
        except DigsiteError as error:
            return Damaged(error.message)


def create_run(root: Path, launch: dict[str, Any], *, run_id: str | None = None) -> RunDir:
    """A new run directory in state `planned`; the launch file is the last to appear, so half a run is no run.

    `root` is the folder of runs, `launch` the content of launch.yaml; without `run_id` one is drawn.
    """
    study = launch["study"]
    folder = root / study
    run = RunDir(folder / run_id) if run_id else _fresh_folder(folder)
    prepare_root(root)
    with _explain_refusal(root, "write below"):
        run.path.mkdir(parents=True, exist_ok=run_id is not None)
        write_status(
            run.status_file,
            Status(state="planned", study=study, id=run.id, seed=launch["config"].get("seed")),
        )
        atomic.write_text(run.launch, seal_text(yamlio.dump_yaml({"schema": SCHEMA, **launch})), fsync=True)
        atomic.fsync_folder(run.path.parent)
    return run


def seal_text(text: str) -> str:
    """The text of a launch file with the digest that shows when it was cut or edited."""
    return f"{text}{_SEAL}{streams.content_id(text, 16)}\n"


@contextmanager
def _explain_refusal(root: Path, wish: str) -> Iterator[None]:
    """What the file system refuses, in one sentence; a full disk is told further up, where it can happen at any time."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        message = (
            f"No permission to {wish} '{root}'." if denied else f"Cannot {wish} '{root}': {error.strerror}."
        )
        raise UsageError(message, hint="Choose another place with --runs DIR.") from None


def _fresh_folder(folder: Path) -> RunDir:
    """Ids are drawn, so two at one moment are tried again."""
    while (run := RunDir(folder / streams.new_id())).path.exists():
        pass
    return run


def prepare_root(root: Path) -> None:
    """Runs are results, not sources: a new root ignores itself in git."""
    if not root.exists():
        with _explain_refusal(root, "create"):
            root.mkdir(parents=True)
            (root / ".gitignore").write_text("*\n")


def read_launch(path: Path) -> dict[str, Any]:
    """The launch file, checked: whole, unedited, and with values of the types that everybody relies on."""
    where = path.parent
    data = stored.read_bytes(path, limit=_LAUNCH_LIMIT)
    if data is None:
        raise NotFound(
            f"'{where}' is not a run directory: it has no {path.name}.", hint="List runs: digsite ls"
        )
    if isinstance(data, Damaged):
        raise _say_damaged(where, data.reason)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _say_damaged(where, "it is not text") from None
    launch = _parse_launch(text, where)
    schema = launch.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise UsageError(
            f"'{where}' has schema {str(schema)[:40]}, but this digsite reads up to {SCHEMA}.",
            hint="Upgrade it: pip install -U digsite",
        )
    if schema > 1 and not _seal_holds(text):
        raise _say_damaged(where, "it was cut or edited after the run was planned")
    if wrong := _find_wrong(launch):
        raise _say_damaged(where, wrong)
    return launch


def is_believable(run: RunDir, data: bytes | Damaged | None = None) -> bool:
    """Whether the launch file is whole and unedited, told by its digest alone: for lists of thousands of runs.

    `data` is what the file holds, for whoever has read it already.
    """
    data = stored.read_bytes(run.launch, limit=_LAUNCH_LIMIT) if data is None else data
    if not isinstance(data, bytes) or len(data) > _LAUNCH_LIMIT:
        return False
    text = data.decode(errors="replace")
    return text.startswith("schema: 1\n") or _seal_holds(text)


def _parse_launch(text: str, where: Path) -> dict[str, Any]:
    """Plain data, or one sentence on the damage."""
    try:
        launch = yamlio.parse_yaml(text, where=f"'{where / 'launch.yaml'}'")
    except UsageError as error:
        raise _say_damaged(where, error.message.rstrip(".")) from None
    if not isinstance(launch, dict):
        raise _say_damaged(where, "it holds no named values")
    return launch


def _seal_holds(text: str) -> bool:
    """The last line is a digest of the others: an edited config would give results that no config explains."""
    body, _, last = text.rpartition(_SEAL)
    return text == seal_text(body) and bool(last)


def _find_wrong(launch: Mapping[str, Any]) -> str:
    """What is missing or of another type, as the end of a sentence; nothing when all is well."""
    if missing := sorted({"study", "method", "config"} - launch.keys()):
        return f"it lacks {', '.join(missing)}"
    if not isinstance(launch["config"], dict) or not all(isinstance(key, str) for key in launch["config"]):
        return "its config is not a mapping of names to values"
    for key in ("study", "method", "purpose", "size"):
        if not isinstance(launch.get(key, ""), str):
            return f"its {key} is not text"
    tags = launch.get("tags", [])
    return (
        ""
        if isinstance(tags, list) and all(isinstance(t, str | int | float) for t in tags)
        else "its tags are not words"
    )


def _say_damaged(where: Path, reason: str) -> UsageError:
    """With what to do."""
    return UsageError(
        f"'{where / 'launch.yaml'}' is damaged: {reason}.",
        hint="A pinned config is never edited: restore the file, or start the run anew.",
    )
