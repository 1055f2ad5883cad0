"""The process that executes runs: device, threads, determinism, and where its log lines go."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from digsite.base import settings
from digsite.base.errors import UsageError
from digsite.record.layout import RunDir
from digsite.train import prepare_process


def prepare(device: str, *, deterministic: bool = False) -> torch.device:
    """One thread unless told otherwise: two jobs on all cores is the classic slowdown."""
    prepare_process(threads=settings.threads())
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return pick_device(device)


def pick_device(name: str) -> torch.device:
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
        pass

    def close(self) -> None:
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
