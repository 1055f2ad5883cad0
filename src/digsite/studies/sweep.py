"""A sweep on disk: every run directory is planned before anything starts, under the hash of its config."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digsite.base import atomic, streams
from digsite.base.errors import UsageError, name_nearest
from digsite.config import yamlio
from digsite.config.overrides import leaf_paths
from digsite.config.space import Drawn, Point, Space, from_tree, from_words
from digsite.record import snapshot, sweeps
from digsite.record.layout import RunDir
from digsite.studies.find import Size, Study, find_study
from digsite.studies.plan import Plan, plan_run, start_run
from digsite.worker import methods

_FILE_KEYS = {"global", "samples", "seed"}
SHIPPED = Path(__file__).parent / "sweeps"


@dataclass(frozen=True)
class Job:
    """One planned run: its study, the point of the space, and the validated plan."""

    point: Point
    planned: Plan

    @property
    def run_id(self) -> str:
        """From what will be run and nothing else: planning twice finds the same directory."""
        pinned = self.planned.launch()
        return streams.content_id(json.dumps([pinned["method"], pinned["config"]], sort_keys=True), 12)

    @property
    def pack(self) -> str:
        """Jobs of one pack differ only in what the study can vary inside one ensemble run."""
        leaves = leaf_paths(self.planned.tree)
        fixed = {key: value for key, value in leaves.items() if key not in self.planned.study.packs}
        return streams.content_id(
            json.dumps([self.planned.study.name, fixed], sort_keys=True, default=str), 12
        )


def plan_jobs(spaces: Mapping[str, Space], *, size: Size = "full", extra: Sequence[Path] = ()) -> list[Job]:
    """Every point of every study's space, validated; the first wrong key stops all of it."""
    jobs: dict[str, Job] = {}
    for name, space in spaces.items():
        study = find_study(name, extra)
        for job in _jobs_of(study, space, size):
            jobs.setdefault(f"{name}/{job.run_id}", job)
    return list(jobs.values())


def _jobs_of(study: Study, space: Space, size: Size) -> Iterator[Job]:
    """One job for each point, its config checked now."""
    for point in space.points():
        yield Job(point, plan_run(study, size=size, values=point))


def spaces_from_words(
    studies: Sequence[str], words: Sequence[str], *, samples: int, seed: int
) -> dict[str, Space]:
    """The same space for every study."""
    space = from_words(words, samples=samples, seed=seed)
    return dict.fromkeys(studies, space)


def spaces_from_file(
    path: Path, known: Sequence[str], *, named: Sequence[str] = (), words: Sequence[str] = ()
) -> dict[str, Space]:
    """`global:` settings for all studies, and a block for each study, which wins.

    `named`: only these studies; one without a block gets the global settings alone. `words`: settings that win over
    both, so that a stored sweep can be narrowed from the command line without a copy of its file.
    """
    stored = yamlio.load_yaml(path)
    blocks = [key for key in stored if key not in _FILE_KEYS]
    studies = list(named) or blocks
    if not studies:
        raise UsageError(f"'{path}' names no study.", hint="Add a block: tms_5-2: {seed: {values: [0, 1]}}")
    for name in blocks:
        if name not in known:
            raise UsageError(f"'{path}' has a block '{name}', which is no study. {name_nearest(name, known)}")
    options = {"samples": _whole(stored, "samples", 1, path), "seed": _whole(stored, "seed", 0, path)}
    for name in (*blocks, "global"):
        if not isinstance(stored.get(name) or {}, dict):
            raise UsageError(
                f"'{path}' has {stored[name]!r:.60} for '{name}', which must be a mapping of settings."
            )
    shared, said = from_tree(stored.get("global") or {}), from_words(words)
    return {name: _layered([shared, from_tree(stored.get(name) or {}), said], options) for name in studies}


def _layered(spaces: Sequence[Space], options: Mapping[str, int]) -> Space:
    """One space in which a later one's setting replaces an earlier one's, listed or drawn."""
    values: dict[str, Sequence[Any]] = {}
    drawn: dict[str, Drawn] = {}
    for space in spaces:
        for path in (*space.values, *space.drawn):
            values.pop(path, None)
            drawn.pop(path, None)
        values |= space.values
        drawn |= space.drawn
    return Space(values, drawn, **options)


def find_sweep_file(named: Path) -> Path:
    """A file, or a shipped sweep by its name (`default`)."""
    shipped = SHIPPED / f"{named.name}.yaml"
    return shipped if named.name == str(named) and not named.exists() and shipped.is_file() else named


def _whole(stored: Mapping[str, Any], key: str, default: int, path: Path) -> int:
    """A stored number that must be whole."""
    value = stored.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"'{path}' has {value!r:.60} for '{key}', which must be a whole number.")
    return value


def write_sweep(jobs: Sequence[Job], root: Path, *, name: str | None = None) -> sweeps.Sweep:
    """Make the run directories that are not there yet, then the plan that lists them."""
    name = name or streams.content_id(" ".join(sorted(job.run_id for job in jobs)))
    text = "".join(atomic.dump_json(_row(job, root)) + "\n" for job in jobs)
    folder = root / sweeps.FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / "plan.jsonl", text)
    return sweeps.Sweep(folder)


def pin_code(sweep: sweeps.Sweep, *, renew: bool = False) -> bool:
    """A copy of digsite and of the user's packages travels with the sweep; False when today's code is another."""
    plans = {member.study: member.run for member in sweep.members}
    packages = {run.plan()["method"].partition(".")[0] for run in plans.values()} - set(methods.find_rooms())
    return snapshot.pin_packages(sweep.folder, {"digsite", *packages}, renew=renew)


def _row(job: Job, root: Path) -> dict[str, Any]:
    """The job's run directory, made if it is not there."""
    study = job.planned.study
    run = RunDir(root / study.name / job.run_id)
    if not run.launch.exists():
        start_run(job.planned, root, run_id=job.run_id)
    return {
        "run": f"{study.name}/{job.run_id}",
        "study": study.name,
        "point": job.point,
        "pack": job.pack if study.packs else None,
        "minutes": study.minutes,
    }
