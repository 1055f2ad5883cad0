"""Plan, execute and report one run: what `run`, `resume` and `demo` share."""

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from digsite.base import settings
from digsite.base.errors import DigsiteError, UsageError
from digsite.base.stored import Damaged
from digsite.record.layout import RunDir
from digsite.record.results import find_misses
from digsite.record.shown import read_claims
from digsite.studies import Study

MIRROR_LOG = "mirror.log"
MIRROR_S = 30.0  # that a finished run waits for its copies


def execute_and_report(
    runs: Sequence[RunDir],
    *,
    device: str,
    quiet: bool = False,
    deterministic: bool = False,
    checkpoint_every_s: float = 60.0,
    is_told: bool = False,
) -> list[int]:
    """Returns the exit codes; a finished run has its report beside it. Several runs are one pack.

    `is_told`: the question was said already, so only the runs are named.
    """
    if not quiet and is_writer():
        announce_runs(runs, is_told)
    with _spinning("loading PyTorch", quiet):
        from digsite.worker.execute import How, execute_pack  # takes seconds: PyTorch comes with it

    console = _log_to_stderr(quiet)
    try:
        codes = execute_pack(runs, How(device, quiet, checkpoint_every_s, deterministic))
    finally:
        logging.getLogger("digsite").removeHandler(console)
    for run, code in zip(runs, codes, strict=True):
        if code == 0 and is_writer():
            write_run_report(run)
    return codes


def announce_runs(runs: Sequence[RunDir], is_told: bool = False) -> None:
    """The question and where its answer will be, said before anything heavy is imported."""
    for run in runs[:3]:
        asked = run.read_asked()
        question = "" if is_told or isinstance(asked, Damaged) else str(asked.get("purpose", ""))
        click.secho(f"{run.path.parent.name}  {run.id}  {question}".rstrip(), err=True, bold=not is_told)
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    click.echo(f"starting{more}; watch it: digsite serve", err=True)


@contextmanager
def _spinning(text: str, quiet: bool) -> Iterator[None]:
    """A line that moves while something heavy is imported; nothing where nobody looks at a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def is_writer() -> bool:
    """Of several processes that torchrun starts for one run, the first writes."""
    return settings.process_rank() == 0


class _Plain(logging.Formatter):
    """Messages as they are; what ended a run looks like every other error of the command line."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        return f"digsite: {text}" if record.levelno >= logging.ERROR else text


class _Stderr(logging.StreamHandler):
    """Writes to whatever stderr is at that moment: a bar puts itself in its place to stay below the messages."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _log_to_stderr(quiet: bool) -> logging.Handler:
    handler = _Stderr(sys.stderr)
    handler.setFormatter(_Plain())
    handler.setLevel(logging.ERROR if quiet else logging.INFO)
    logging.getLogger("digsite").addHandler(handler)
    return handler


def write_run_report(run: RunDir) -> None:
    from digsite.report import write_report

    write_report([run], run.report)


def report_together(
    runs: Sequence[RunDir], out: Path, title: str, mirror: str = "", project: str = ""
) -> None:
    """One file about several runs, named on stderr; where W&B has a copy of them, its own kind of report as well."""
    from digsite.report import write_report

    write_report(list(runs), out)
    click.echo(f"The report of all {len(runs)}: {out}", err=True)
    if mirror == "wandb":
        from digsite.mirrors.wandb_report import publish_report

        entity, stored = settings.tracker_entity(), out.with_suffix(".wandb.json")
        try:
            said = publish_report(runs, stored, title=title, project=project, entity=entity)
        except DigsiteError as error:  # the runs are done and their own report is written
            said = f"digsite: {error}"
        click.echo(said, err=True)


def explain_end(run: RunDir, code: int) -> None:
    """What to do next after a run that did not finish."""
    status = run.status()
    if status.state == "failed" and code != UsageError.exit_code:
        # After a wrong setting only a new run helps: this one keeps its own.
        click.echo(
            f"  The traceback is in {run.error}. After mending the cause: digsite resume {run.id}", err=True
        )
    elif status.state == "interrupted":
        click.echo(
            f"digsite: {run.id} was {status.message}; continue it with: digsite resume {run.id}", err=True
        )


def check_expected(study: Study, run: RunDir) -> list[str]:
    """Lines about what is not as expected; a study that expects nothing was not checked, and says so."""
    claims = read_claims(run)
    results = None if isinstance(claims, Damaged) else claims
    launch = run.plan()
    size = str(launch.get("size", "full"))
    rules = study.expected_of(size, at_hand=bool(launch.get("at_hand")))
    if not rules:
        return [f"Nothing was compared: '{study.name}' expects no value of its {size} size (expected.json)."]
    missed = find_misses(results, {"claims": rules}) if results else ["there are no results"]
    return ["Not as expected:", *missed] if missed else []


def short_path(root: Path, run: RunDir) -> str:
    return str(run.path.relative_to(root.parent) if run.path.is_relative_to(root.parent) else run.path)


@contextmanager
def mirror_beside(runs: Sequence[RunDir], kind: str, project: str) -> Iterator[None]:
    """A process beside each run copies its journal to a tracker; what happens to it never touches the run."""
    if not kind:
        yield
        return
    from digsite.mirrors import refuse_tracker

    refuse_tracker(kind)
    words = ["mirror", "--to", kind, "--project", project, "--live"]
    beside = [_start_mirror(run, words) for run in runs]
    try:
        yield
    finally:
        for run, process in zip(runs, beside, strict=True):
            with suppress(subprocess.TimeoutExpired):
                process.wait(MIRROR_S)
            click.echo(_last_words(run.path / MIRROR_LOG, kind), err=True)


def _last_words(log: Path, kind: str) -> str:
    """Where the copy is, or what its process said last: a copy that failed costs the run nothing and is not silent."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if f"-> {kind}: " in line] or lines[-1:]
    return telling[-1] if telling else f"The copy to {kind} goes on; its log is {log}"


def _start_mirror(run: RunDir, words: list[str]) -> subprocess.Popen:
    with (run.path / MIRROR_LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "digsite", *words, str(run.path)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def keep_answer(
    verb: str,
    asked: Sequence[str],
    answer: Mapping[str, Any],
    said: Sequence[str],
    root: Path,
    quiet: bool = False,
) -> None:
    """A verb's answer as a run of its own, after it was shown, so that page, report, notebook and mirrors know it.

    `answer` holds numbers, and lists of rows as tables; `said` are the sentences of the answer. Where no run can be written the
    answer stands as it was shown, and one line says so.
    """
    from digsite.base import atomic
    from digsite.studies.find import ROOT
    from digsite.studies.plan import plan_run, start_run

    names = [str(word) for word in asked]
    question = f"What does 'digsite {verb} {' '.join(names)}' say?"
    config = {"verb": verb, "asked": names}
    study = Study(verb, "joint", ROOT / "joint" / verb, "joint.answer", question, 1.0, config, {}, {})
    try:
        run = start_run(plan_run(study), root)
        run.artifacts.mkdir(parents=True, exist_ok=True)
        atomic.write_json(run.artifacts / "answer.json", {**answer, "said": list(said)})
        (code,) = execute_and_report([run], device="cpu", quiet=True)
        line = (
            f"kept as run {run.id}: digsite show {run.id}" if code == 0 else f"not kept as a run: {run.error}"
        )
    except (OSError, DigsiteError) as error:
        line = f"not kept as a run: {error}"
    if not quiet:
        click.echo(line, err=True)
