"""Processes that do not outlive the one that started them, however that one ends."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

_PR_SET_PDEATHSIG = 1
_ASK_EVERY_S = 1.0


def follow_parent(number: int = signal.SIGKILL) -> None:
    """Get signal `number` when the parent dies, a SIGKILL included, which leaves it no moment to end its children.

    Linux tells the child at once; elsewhere a thread looks every second whether the parent is still the same. Without
    this, workers of a killed run compute on for nobody, with its lock and half a gigabyte each.
    """
    parent = os.getppid()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before we had asked
            os.kill(os.getpid(), number)
        return
    threading.Thread(target=_watch_parent, args=(parent, number), daemon=True, name="lineage").start()


def _watch_parent(parent: int, number: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ASK_EVERY_S)
    os.kill(os.getpid(), number)


class Workers(ProcessPoolExecutor):
    """Processes that work for this one and end with it. They import what they are given and never the user's script.

    Spawned, not forked: a forked PyTorch may wait for a lock that no thread of the child holds. A spawned process
    imports the script that is being run anew, and one without a main guard would start its runs again in each worker;
    the work is always a function of a package, so the script is hidden from them.
    """

    def __init__(self, n: int, prepare: Callable[[], object] | None = None) -> None:
        super().__init__(n, get_context("spawn"), initializer=_begin_worker, initargs=(prepare,))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As the executor's own; processes are started here, when they are first needed."""
        with _hidden_script():
            return super().submit(fn, *args, **kwargs)


def _begin_worker(prepare: Callable[[], object] | None) -> None:
    follow_parent()
    if prepare:
        prepare()


@contextmanager
def _hidden_script() -> Iterator[None]:
    script = sys.modules["__main__"]
    kept = {name: getattr(script, name) for name in ("__spec__", "__file__") if hasattr(script, name)}
    for name in kept:
        setattr(script, name, None)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(script, name, value)
