"""Signals become a request that the step loop honors: finish the step, checkpoint, leave with the right code."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
        if self.exit_code is not None:
            raise StopNow(KILLED_BY_TERM if number == signal.SIGTERM else CTRL_C)
        self.exit_code = CTRL_C if number == signal.SIGINT else REQUEUE

    def raise_if_set(self) -> None:
        if self.exit_code is not None:
            raise Interrupted(self.exit_code)


@contextmanager
def listening(request: StopRequest) -> Iterator[None]:
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
