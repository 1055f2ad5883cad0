"""Jobs worked off in a few processes, a little ahead of the one that is asked for."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import Any

Call = tuple[Any, ...]


class Ahead:
    """`result(i)` is `work(*calls[i])`; while it is waited for, the next ones run beside it.

    Nothing is started before it is needed, so a resumed run only computes what is missing.
    """

    def __init__(self, work: Callable[..., Any], calls: Sequence[Call], workers: int) -> None:
        self.work, self.calls, self.workers = work, calls, min(workers, len(calls))
        self._futures: dict[int, Future[Any]] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)

    def result(self, i: int) -> Any:
        if self.workers < 2:
            return self.work(*self.calls[i])
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))
        for j in range(i, min(i + self.workers, len(self.calls))):
            if j not in self._futures:
                self._futures[j] = self._pool.submit(self.work, *self.calls[j])
        return self._futures.pop(i).result()
