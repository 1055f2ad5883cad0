"""Finding runs: a scan of folders, no database, 5,000 runs in well under a second."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.record.layout import RunDir
from digsite.record.status import Status, read_status

TRASH = ".trash"


def runs_in(root: Path) -> Iterator[RunDir]:
    """Every run below `root`, newest id first within its study; a folder without a launch file is none."""
    for study in _list_folders(root):
        for run in sorted(_list_folders(study), key=lambda p: p.name, reverse=True):
            if has_launch(run):
                yield RunDir(run)


def has_launch(run: Path) -> bool:
    """Whether a folder is a run; a name that cannot be one, or a folder that cannot be read, is none."""
    try:
        return (run / "launch.yaml").is_file()
    except (OSError, ValueError):
        return False


def _list_folders(path: Path) -> list[Path]:
    """Visible ones, in order; none where nothing can be read."""
    try:
        with os.scandir(path) as entries:
            return sorted(Path(e.path) for e in entries if not e.name.startswith(".") and e.is_dir())
    except OSError:  # gone, no folder, or not ours to look into
        return []


def list_statuses(root: Path) -> list[tuple[RunDir, Status]]:
    """Runs with their states, newest first.

    `root` is the folder of runs; a damaged status file comes as the state `damaged`.
    """
    statuses = [(run, read_status(run.status_file)) for run in runs_in(root)]
    return sorted(statuses, key=lambda pair: pair[1].created, reverse=True)


def find_run(name: str, root: Path) -> RunDir:
    """A run by path, by `study/id`, by id, by a unique part of it, or `last`.

    `name` is any of these, `root` the folder of runs.
    """
    name = name.removeprefix("run:")
    if has_launch(Path(name)):
        return RunDir(Path(name))
    if has_launch(root / name):
        return RunDir(root / name)
    if name == "last" and (everything := list_statuses(root)):
        return everything[0][0]
    known = list(runs_in(root))
    exact = [run for run in known if run.id == name]
    matches = exact or [run for run in known if name in f"{run.path.parent.name}/{run.id}"]
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = ", ".join(run.id for run in matches[:5])
        raise NotFound(f"'{name}' fits {len(matches)} runs: {listed}.", hint="Give more of the id.")
    raise NotFound(
        f"There is no run '{name}' in '{root}'. {name_nearest(name, [r.id for r in known])}".strip(),
        hint="List runs: digsite ls",
    )


def move_to_trash(run: RunDir) -> Path:
    """Move a run to the trash folder of its root; nothing is deleted here."""
    bin_ = run.path.parent.parent / TRASH / run.path.parent.name
    bin_.mkdir(parents=True, exist_ok=True)
    target = bin_ / run.id
    while os.path.lexists(target):
        target = target.with_name(f"{target.name}+")
    shutil.move(run.path, target)
    return target


def list_trash(root: Path) -> list[RunDir]:
    """Runs in the trash folder of `root`, by study and id."""
    return [
        RunDir(run)
        for study in _list_folders(root / TRASH)
        for run in _list_folders(study)
        if has_launch(run)
    ]


def restore_run(name: str, root: Path) -> RunDir:
    """Move a run back from the trash, by its id or a unique part of it; the place it had must be free."""
    thrown = list_trash(root)
    exact = [run for run in thrown if run.id == name]
    matches = exact or [run for run in thrown if name in f"{run.path.parent.name}/{run.id}"]
    if len(matches) != 1:
        fits = f"fits {len(matches)} runs" if matches else "is no run"
        near = name_nearest(name, [run.id for run in thrown]) if thrown else "It is empty."
        raise NotFound(f"'{name}' {fits} in the trash of '{root}'. {near}", hint="List it: digsite restore")
    run = matches[0]
    target = root / run.path.parent.name / run.id.rstrip("+")  # thrown away twice, it got a plus
    if os.path.lexists(target):
        raise UsageError(f"There is a run '{target.name}' again; the one in the trash stays where it is.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(run.path, target)
    return RunDir(target)
