"""Execute one run from its directory: lock, resume, signals, errors, exit code."""

import errno
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError

from digsite.base import atomic
from digsite.base.errors import DigsiteError, UsageError
from digsite.config import Config, resolve
from digsite.config.resolve import current_method, current_settings
from digsite.record.layout import RunDir
from digsite.record.lock import hold_lock
from digsite.worker import methods
from digsite.worker.process import (
    Interrupted,
    StopNow,
    StopRequest,
    World,
    from_environment,
    join_group,
    logging_to,
    prepare_device,
    route_signals,
)
from digsite.worker.progress import Progress
from digsite.worker.run import Run


@dataclass(frozen=True)
class How:
    """How to run, as opposed to what: never part of the config."""

    device: str = "auto"
    quiet: bool = False
    checkpoint_every_s: float = 60.0
    deterministic: bool = False
    parent: str | None = None


def execute_run(directory: RunDir, how: How) -> int:
    """Run to the end, or to the first signal or error; returns the exit code."""
    return execute_pack([directory], how)[0]


def execute_pack(directories: Sequence[RunDir], how: How) -> list[int]:
    """Runs that the room can hold in one ensemble go through it together, each into its own directory."""
    launches = [directory.plan() for directory in directories]
    method = launches[0]["method"]
    pack = methods.find_packed(method) if len(directories) > 1 else None
    if len(directories) > 1 and pack is None:
        return [execute_run(directory, how) for directory in directories]
    model = methods.config_class(method)
    trees = [current_settings(current_method(method), launch["config"]) for launch in launches]
    configs = [resolve.validate_config(model, tree) for tree in trees]
    world = from_environment()
    if not methods.is_parallel(method):
        if not world.is_first:  # one process is all that this method can use
            return [0] * len(directories)
        world = World()
    device = world.device(prepare_device(how.device, deterministic=how.deterministic))
    request = StopRequest()
    with ExitStack() as stack:
        for directory in directories if world.is_first else []:
            stack.enter_context(hold_lock(directory))
        if all(directory.status().state == "finished" for directory in directories):
            return [0] * len(directories)
        stack.enter_context(join_group(world, device))
        runs = [
            _open_run(d, c, device, request, how, world) for d, c in zip(directories, configs, strict=True)
        ]
        runs[0].lead(runs[1:])
        for directory in directories if world.is_first else []:
            stack.enter_context(logging_to(directory))
        stack.enter_context(route_signals(request))
        work = (
            partial(pack, configs, runs)
            if pack
            else partial(methods.find_function(method), configs[0], runs[0])
        )
        return [_guard_work(runs, work, how)] * len(runs)


def _open_run(
    directory: RunDir, config: Config, device: torch.device, request: StopRequest, how: How, world: World
) -> Run:
    """The writer, or a follower of it."""
    kind, progress = (Run, Progress) if world.is_first else (Follower, SilentProgress)
    return kind(
        directory,
        seed=getattr(config, "seed", 0),
        device=device,
        progress=progress(directory, quiet=how.quiet),
        request=request,
        checkpoint_every_s=how.checkpoint_every_s,
        world=world,
    )


def _guard_work(runs: Sequence[Run], work: Callable[[], None], how: How) -> int:
    """The one place where every failure of a room ends: state, message and exit code agree."""
    try:
        for run in runs:
            run.begin(parent=how.parent)
        work()
        for run in runs:
            run.finish()
        return 0
    except (Interrupted, StopNow) as stop:
        for run in runs:
            run.progress.end("interrupted", str(stop))
        return stop.exit_code
    except (Exception, SystemExit) as error:
        for run in runs if runs[0].world.is_first else []:
            _record_failure(run, _explain_error(error, run.directory))
        return error.exit_code if isinstance(error, DigsiteError) else 1


def _explain_error(error: BaseException, directory: RunDir) -> BaseException:
    """What happens to any method, in words of the user's: a full disk, no memory, numbers that ran away, an exit."""
    plain = _in_words(error, directory)
    if plain is not error:
        plain.__cause__ = error
    return plain


def _in_words(error: BaseException, directory: RunDir) -> BaseException:
    """A full disk and an unreadable file in words of a person, with the command that goes on."""
    again, text = f"digsite resume {directory.id}", str(error)
    # safetensors reports a full disk in an error of its own, as text
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        return DigsiteError(
            f"The disk that holds '{directory.path}' is full; what was written before is whole.",
            hint=f"Free some space, then: {again}",
        )
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text:
        return DigsiteError(
            f"There is not enough memory for this run ({text.splitlines()[0][:200] if text else 'MemoryError'}).",
            hint=f"Start a smaller one, or free memory and then: {again}",
        )
    if isinstance(error, BrokenExecutor):
        message = "A worker process of this run was killed, most often because the memory ran out."
        return DigsiteError(message, hint=f"Take fewer workers, or free memory and then: {again}")
    if isinstance(error, np.linalg.LinAlgError | torch.linalg.LinAlgError) or "contains non-finite" in text:
        return DigsiteError(
            f"The numbers of this run ran away until a matrix could not be solved ({text.splitlines()[0][:200]}).",
            hint="Most often a learning rate or a scale is too large: start a new run with a smaller one.",
        )
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        return UsageError(
            f"The settings of this run do not fit each other: {f'{path}: ' if path else ''}{said}.",
            hint="Start a new run: this one keeps its config.",
        )
    if isinstance(error, SystemExit):
        message = f"The method ended the process by itself (exit code {error.code}) instead of returning."
        return DigsiteError(
            message, hint="A method returns when it is done, and raises when it cannot go on."
        )
    return error


def _record_failure(run: Run, error: BaseException) -> None:
    """error.json has the traceback, the terminal one line."""
    message = str(error) if isinstance(error, DigsiteError) else f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    log = logging.getLogger("digsite")
    log.error(
        message.encode("utf-8", "backslashreplace").decode()
    )  # a lone surrogate breaks whatever shows the log
    run.progress.stop()
    try:
        atomic.write_json(
            run.directory.error, {"message": message, "type": type(error).__name__, "traceback": trace}
        )
        run.progress.end("failed", message)
    except OSError:  # a full disk cannot even take the message; its one line is on the terminal
        pass


# A run as the processes beside the first see it: the same streams and checkpoints, and nothing is written.

T = TypeVar("T")


class SilentProgress(Progress):
    """Of several processes one reports."""

    def start(self) -> None:
        pass

    def _write(self, **changes: Any) -> None:
        pass

    def _show(self, now: float) -> None:
        pass


class Follower(Run):
    """Everything that computes is inherited, everything that writes does nothing."""

    def log(self, step: int, **values: float) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def table(self, name: str, columns: Any, *, grows: bool = False) -> None:
        pass

    def figure(self, name: str, figure: Any, data: Any = None, *, caption: str = "") -> None:
        pass

    def tensors(self, name: str, tensors: Any, metadata: Mapping[str, str] | None = None) -> Path:
        return self.directory.artifacts / f"{name}.safetensors"

    def json(self, name: str, value: Any) -> Path:
        return self.directory.artifacts / f"{name}.json"

    def view(self, name: str, kind: str, source: str, **options: Any) -> None:
        pass

    def once(self, name: str, compute: Callable[[], T], *, announce: bool = True) -> T:
        """What the first process computed."""
        self.world.wait()
        return self._checkpoints.load(f"once-{name}")

    def cost(self, name: str, seconds: float, **more: float) -> None:
        pass

    def begin(self, *, parent: str | None = None) -> None:
        """Until the first process has looked through the checkpoints."""
        self.world.wait()

    def finish(self) -> None:
        pass

    def _save(self, name: str, state: Any) -> None:
        pass
