"""The process that executes runs: device, threads, determinism, and where its log lines go."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import torch
from torch import distributed

from digsite.base import settings
from digsite.base.errors import UsageError
from digsite.record.layout import RunDir
from digsite.train import prepare_process


def prepare_device(device: str, *, deterministic: bool = False) -> torch.device:
    """One thread unless told otherwise: two jobs on all cores is the classic slowdown."""
    prepare_process(threads=settings.count_threads())
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return pick_device(device)


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):
        raise UsageError(f"'{name[:60]}' is not a device.", hint="Use cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"'{name[:60]}' is not a device that digsite runs on.", hint="Use cpu, cuda or cuda:N."
        )
    if (
        device.type == "cuda"
        and torch.cuda.is_available()
        and (device.index or 0) >= torch.cuda.device_count()
    ):
        message = f"The device '{name}' was asked for, but this machine has {torch.cuda.device_count()}."
        raise UsageError(message, hint="They are counted from 0.")
    if device.type == "cuda" and not torch.cuda.is_available():
        message = f"The device '{name}' was asked for, but this machine has no CUDA."
        raise UsageError(message, hint="Use --device cpu.")
    return device


class _RunLog(logging.FileHandler):
    """A log file that is quiet about a full disk: the run itself says it, once."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A log line that cannot be written must not end a run."""
        pass

    def close(self) -> None:
        """Nor one that cannot be flushed."""
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(directory: RunDir) -> Iterator[None]:
    """Everything that digsite logs while a run is running also goes to its run.log."""
    handler = _RunLog(directory.log, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("digsite")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


# Signals become a request that the step loop honors: finish the step, checkpoint, leave with the right code.

CTRL_C = 130
REQUEUE = 75
KILLED_BY_TERM = 143


class Interrupted(Exception):
    """Raised at a safe point after a signal asked the run to stop."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("interrupted" if exit_code == CTRL_C else "asked to leave by the scheduler")
        self.exit_code = exit_code


class StopNow(BaseException):
    """The second signal: leave at once; the lock and the last checkpoint are still in order."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("stopped at once")
        self.exit_code = exit_code


class StopRequest:
    """Set by the first signal."""

    def __init__(self) -> None:
        self.exit_code: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The first signal asks, the second stops at once."""
        if self.exit_code is not None:
            raise StopNow(KILLED_BY_TERM if number == signal.SIGTERM else CTRL_C)
        self.exit_code = CTRL_C if number == signal.SIGINT else REQUEUE

    def raise_if_set(self) -> None:
        """Called where a checkpoint has just been written."""
        if self.exit_code is not None:
            raise Interrupted(self.exit_code)


@contextmanager
def route_signals(request: StopRequest) -> Iterator[None]:
    """Route the signals of people and schedulers to `request`; only a main thread can."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.signal(number, request.handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# The processes that work on one run together, as torchrun starts them: all compute, only the first writes.

PATIENCE = timedelta(days=2)  # the others wait while the first trains a target alone


@dataclass(frozen=True)
class World:
    """This process among those that share a run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def device(self, chosen: torch.device) -> torch.device:
        """Each process of a machine takes the GPU of its number."""
        own = self.size > 1 and chosen.type == "cuda" and chosen.index is None
        return torch.device("cuda", self.local_rank) if own else chosen

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()

    def agree_on(self, exit_code: int | None) -> int | None:
        """The same answer in every process: the highest exit code that a signal to any of them asked for."""
        if self.size == 1:
            return exit_code
        highest = torch.tensor(exit_code or 0, device=_group_device())
        distributed.all_reduce(highest, op=distributed.ReduceOp.MAX)
        return int(highest) or None


def from_environment() -> World:
    """RANK, WORLD_SIZE and LOCAL_RANK; alone without them."""
    size = settings.whole_number("WORLD_SIZE", 1, least=1)
    rank, local = settings.process_rank(), settings.whole_number("LOCAL_RANK", 0)
    if rank >= size:
        message = (
            f"The environment variable RANK is {rank}, but WORLD_SIZE says that there are {size} processes."
        )
        raise UsageError(message, hint="Unset both: unset RANK WORLD_SIZE")
    return World(rank, size, local)


@contextmanager
def join_group(world: World, device: torch.device) -> Iterator[None]:
    """A process group for as long as the run takes."""
    if world.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _group_device() -> torch.device:
    """What the group's backend can send."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
