"""What launchers share: the work that is left, cut into chunks, and the choice of a launcher by name."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from digsite.base import families
from digsite.base import settings as environment
from digsite.base.errors import UsageError, name_nearest
from digsite.record import snapshot
from digsite.record.sweeps import Sweep, SweepRow

FAMILY = "digsite.launch.launchers"
UNFINISHED = ("planned", "failed", "killed", "interrupted", "damaged")
INTERRUPTED = 75


@dataclass(frozen=True)
class Options:
    """How to run a sweep; every launcher takes the same."""

    max_parallel: int = 0  # 0: as many as the launcher has workers
    device: str = "auto"
    fail_fast: bool = False
    only_failed: bool = False
    chunk: int = 0  # runs per job; 0 lets the launcher decide
    time_limit_min: int = 0
    partition: str = ""
    cpus: int = 1
    gpus: int = 0
    job_suffix: str = ""
    address: str = ""
    wait: bool = True
    mirror: str = ""
    project: str = "digsite"

    @property
    def command(self) -> list[str]:
        """The process that every launcher starts; it reads pieces of work from stdin."""
        mirror = ["--mirror", self.mirror, "--project", self.project] if self.mirror else []
        return [sys.executable, "-m", "digsite", "exec", "--device", self.device, *mirror]


@dataclass(frozen=True)
class Work:
    """Runs that are executed one after the other by one process; a pack goes through one ensemble."""

    paths: tuple[Path, ...]
    packed: bool = False

    @property
    def line(self) -> str:
        """What `digsite exec` reads: one piece of work a line."""
        return "\t".join(map(str, self.paths))


def work_left(sweep: Sweep, *, only_failed: bool = False) -> list[Work]:
    """Everything unfinished, or only what failed or was killed.

    A pack keeps the members it was planned with, so that a retry repeats its bytes.
    """
    states = ("failed", "killed", "damaged") if only_failed else UNFINISHED
    todo = {member.run.path for member in sweep.members if member.status().shown_state in states}
    packs = _group_packs(sweep.members)
    pieces = [Work(tuple(m.run.path for m in group), packed=len(group) > 1) for group in packs]
    return [piece for piece in pieces if todo & set(piece.paths)]


def _group_packs(members: Sequence[SweepRow]) -> list[list[SweepRow]]:
    """Runs that one ensemble can train are one piece of work."""
    groups: dict[str, list[SweepRow]] = {}
    for index, member in enumerate(members):
        groups.setdefault(member.pack or f"alone-{index}", []).append(member)
    return list(groups.values())


def process_environment(sweep: Sweep, options: Options) -> dict[str, str]:
    """What every started process gets in its environment: its threads, and the code that the sweep was planned with."""
    code = snapshot.pinned_folder(sweep.folder)
    path = os.pathsep.join(filter(None, [str(code or ""), os.environ.get("PYTHONPATH")]))
    threads = str(options.cpus if options.cpus > 1 else environment.count_threads())
    return {"OMP_NUM_THREADS": threads, **({"PYTHONPATH": path} if path else {})}


def cut_chunks(pieces: Sequence[Work], size: int) -> Iterator[list[Work]]:
    """`size` pieces each, the last one smaller."""
    for start in range(0, len(pieces), size):
        yield list(pieces[start : start + size])


def refuse_launcher(on: str) -> None:
    """Before anything is planned: a mistyped launcher must not leave run directories behind.

    `on` is what follows `--on`.
    """
    name, known = on.partition(":")[0], families.list_members(FAMILY)
    if name not in known:
        raise UsageError(f"There is no launcher '{name}'. {name_nearest(name, known)}")


def launch_sweep(sweep: Sweep, on: str, options: Options) -> int:
    """Run what is left of a sweep with the launcher named `on`, for example `local:2`; returns the exit code.

    `options` are what every launcher takes: how many at once, which device, whether to stop at a failure.
    """
    refuse_launcher(on)
    name, _, argument = on.partition(":")
    code = families.scan_member(FAMILY, name).launch(sweep, argument, options)
    return code or _left_over(sweep, options)


def _left_over(sweep: Sweep, options: Options) -> int:
    """The exit code when every process said that all was well: read again from the run directories.

    A sweep of which something is unfinished is never done, whatever the reason; only jobs that were handed to a
    scheduler and not waited for may still be ahead.
    """
    left = sweep.left()
    if not left or not options.wait:
        return 0
    counts = ", ".join(f"{n} {state}" for state, n in sweep.counts().items() if state != "finished")
    lost = f"{sweep.damaged} lines of its plan are damaged" if sweep.damaged else ""
    sys.stderr.write(
        f"digsite: sweep '{sweep.name}' is not complete: {', '.join(filter(None, [counts, lost]))}.\n"
    )
    return INTERRUPTED if sweep.counts()["interrupted"] else 1
