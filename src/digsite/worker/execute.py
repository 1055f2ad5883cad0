"""Execute one run from its directory: lock, resume, signals, errors, exit code."""

import errno
import logging
import os
import traceback
from dataclasses import dataclass

import torch

from digsite.base import atomic
from digsite.base.errors import DigsiteError, UsageError
from digsite.config import resolve
from digsite.runs import provenance
from digsite.runs.layout import RunDir
from digsite.runs.lock import locked
from digsite.worker import methods
from digsite.worker.progress import Progress
from digsite.worker.run import Run
from digsite.worker.signals import Interrupted, StopNow, StopRequest, listening


@dataclass(frozen=True)
class How:
    """How to run, as opposed to what: never part of the config."""

    device: str = "auto"
    quiet: bool = False
    checkpoint_every_s: float = 60.0
    deterministic: bool = False
    parent: str | None = None


def execute(directory: RunDir, how: How) -> int:
    """Run to the end, or to the first signal or error; returns the exit code."""
    launch = directory.plan()
    config = resolve.validate(methods.config_class(launch["method"]), launch["config"])
    device = pick_device(how.device)
    _prepare_torch(how)
    with locked(directory):
        if directory.status().state == "finished":
            return 0
        progress, request = Progress(directory, quiet=how.quiet), StopRequest()
        run = Run(directory, seed=getattr(config, "seed", 0), device=device, progress=progress,
                  request=request, checkpoint_every_s=how.checkpoint_every_s)  # fmt: skip
        with _logging_to(directory), listening(request):
            return _guarded(run, launch["method"], config, progress, how)


def _guarded(run: Run, method: str, config: object, progress: Progress, how: How) -> int:
    """The one place where every failure of a room ends: state, message and exit code agree."""
    try:
        progress.start()
        run.directory.error.unlink(missing_ok=True)
        if not run.directory.provenance.exists():
            atomic.write_json(
                run.directory.provenance, provenance.collect(device=str(run.device), parent=how.parent)
            )
        run._checkpoints.rewind_journal()
        methods.function(method)(config, run)
        run.write_results()
        progress.end("finished")
        return 0
    except (Interrupted, StopNow) as stop:
        progress.end("interrupted", str(stop))
        return stop.exit_code
    except Exception as error:
        _record_failure(run.directory, progress, _explained(error, run.directory))
        return error.exit_code if isinstance(error, DigsiteError) else 1


def _explained(error: Exception, directory: RunDir) -> Exception:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        full = DigsiteError(
            f"The disk that holds '{directory.path}' is full; what was written before is whole.",
            hint=f"Free some space, then: digsite resume {directory.id}",
        )
        full.__cause__ = error
        return full
    return error


def _record_failure(directory: RunDir, progress: Progress, error: Exception) -> None:
    message = str(error) if isinstance(error, DigsiteError) else f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    logging.getLogger("digsite").error(message)
    try:
        atomic.write_json(
            directory.error, {"message": message, "type": type(error).__name__, "traceback": trace}
        )
        progress.end("failed", message)
    except OSError:  # a full disk cannot even take the message; the log line above is all there is
        logging.getLogger("digsite").error(trace)


def pick_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"'{name}' is not a device.", hint="Use cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"The device '{name}' was asked for, but this machine has no CUDA.", hint="Use --device cpu."
        )
    return device


def _prepare_torch(how: How) -> None:
    """One thread unless told otherwise: two jobs on all cores is the classic slowdown."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    if how.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


class _logging_to:
    """Everything that digsite logs while a run is running also goes to its run.log."""

    def __init__(self, directory: RunDir) -> None:
        self.handler = logging.FileHandler(directory.log, delay=True)
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.logger = logging.getLogger("digsite")

    def __enter__(self) -> None:
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self.handler)

    def __exit__(self, *exception: object) -> None:
        self.logger.removeHandler(self.handler)
        self.handler.close()
