"""Jobs worked off in a few processes, a little ahead of the one that is asked for."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from types import TracebackType
from typing import Any

from digsite.base.lineage import Workers
from digsite.graft.config import TaskConfig
from digsite.graft.subjects.theatre import name_pair
from digsite.worker.run import Run

Call = tuple[Any, ...]
Couple = tuple[tuple[str, str], int]  # names of receiver and donor, seed


def list_couples(config: TaskConfig, seeds: int | None = None) -> list[Couple]:
    """Every pair of every seed, or of the first few."""
    n = min(seeds or config.seeds, config.seeds)
    return [(pair, config.seed + s) for pair in config.pairs for s in range(n)]


def work_ahead(
    run: Run,
    config: TaskConfig,
    work: Callable[..., Any],
    jobs: Sequence[Couple],
    *,
    more: Callable[[str], tuple[Any, ...]] = lambda name: (),
    stage: str = "couples",
) -> Iterator[tuple[str, int, Any]]:
    """Each couple's title, seed and `work(config, names, seed, *more(title))`, stored; a resumed run reads it back."""
    calls = [(config.model_dump(), pair, seed, *more(name_pair(pair))) for pair, seed in jobs]
    run.stage(stage, len(jobs))
    with Ahead(work, calls, config.workers, run.let_signals_in) as ahead:
        for i, (pair, seed) in enumerate(jobs):
            name = name_pair(pair)
            done = run.once(f"{name}-{seed}-{stage}", lambda i=i: ahead.result(i), announce=False)
            yield name, seed, done
            run.let_signals_in(i + 1)


class Ahead:
    """`result(i)` is `work(*calls[i])`; while it is waited for, the next ones run beside it.

    Nothing is started before it is needed, so a resumed run only computes what is missing. `let_signals_in` is called
    while waiting; when it raises (a signal asked the run to end), the processes are ended too.
    """

    def __init__(
        self,
        work: Callable[..., Any],
        calls: Sequence[Call],
        workers: int,
        let_signals_in: Callable[[], object] | None = None,
    ) -> None:
        self.work, self.calls, self.workers = work, calls, min(workers, len(calls))
        self.let_signals_in = let_signals_in or (lambda: None)
        self._futures: dict[int, Future[Any]] = {}
        self._pool: Workers | None = None

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if error is not None:  # a pool has no public way to stop a running job before Python 3.14
            for process in list(getattr(self._pool, "_processes", {}).values()):
                process.terminate()
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    def result(self, i: int) -> Any:
        """What call `i` gives; waits for it, and starts the next few beside it."""
        if self.workers < 2:
            return self.work(*self.calls[i])
        if self._pool is None:
            self._pool = Workers(self.workers)
        for j in range(i, min(i + self.workers + 1, len(self.calls))):  # one waits, so that nobody idles
            if j not in self._futures:
                self._futures[j] = self._pool.submit(self.work, *self.calls[j])
        future = self._futures.pop(i)
        while True:
            try:
                return future.result(timeout=0.5)
            except NotYet:
                if future.done():  # the job itself timed out on something
                    raise
                self.let_signals_in()
