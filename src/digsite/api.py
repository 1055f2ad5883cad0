"""digsite from a notebook: `digsite.run("tms_5-2", steps=200)` does what the command line does and returns the run."""

from pathlib import Path
from typing import Any

from digsite.base import settings
from digsite.base.errors import DigsiteError, UsageError
from digsite.record import find_run, list_statuses
from digsite.report.opened import Run
from digsite.studies import find_study
from digsite.studies.find import Size
from digsite.studies.plan import plan_run

__all__ = ["Run", "list_runs", "list_studies", "open_run", "run"]


def run(
    study: str,
    *,
    size: Size = "full",
    runs: Path | str | None = None,
    device: str | None = None,
    studies: Path | str | None = None,
    overrides: tuple[str, ...] = (),
    **settings_: Any,
) -> Run:
    """Run a study with some settings changed; a setting may be named by the end of its path (`steps`)."""
    from digsite.studies.plan import start_run
    from digsite.worker.execute import How, execute_run

    found = find_study(study, [Path(studies)] if studies else [])
    named = (f"{name.replace('__', '.')}={_typed(value)}" for name, value in settings_.items())
    changes = [*overrides, *named]
    directory = start_run(
        plan_run(found, size=size, overrides=changes), Path(runs) if runs else settings.runs_dir()
    )
    code = execute_run(directory, How(device or settings.default_device(), quiet=True))
    if code:
        again = f"; after mending the cause: digsite resume {directory.id}"
        raise DigsiteError(
            f"The run '{directory.id}' did not finish: {directory.status().message}",
            hint=f"Its folder is {directory.path}" + ("." if code == UsageError.exit_code else again),
        )
    from digsite.report import write_report

    write_report([directory], directory.report)
    return Run(directory)


def _typed(value: Any) -> str:
    """As it would be written on the command line."""
    from digsite.base.atomic import dump_json

    return str(value) if isinstance(value, Path) else dump_json(value)


def open_run(name: str = "last", *, runs: Path | str | None = None) -> Run:
    """A run by path, id, a part of its id, or `last`."""
    return Run(find_run(name, Path(runs) if runs else settings.runs_dir()))


def list_runs(root: Path | str | None = None) -> list[Run]:
    """Every run, newest first."""
    return [Run(directory) for directory, _ in list_statuses(Path(root) if root else settings.runs_dir())]


def list_studies() -> dict[str, str]:
    """Names of the studies with the question that each answers."""
    from digsite.studies import all_studies

    return {name: study.purpose for name, study in all_studies().items()}
