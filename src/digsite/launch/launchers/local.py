"""A pool of processes on this machine: each stays warm and takes one piece of work after the other."""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

from digsite.base.errors import UsageError
from digsite.launch.work import Options, Work, settings, work_left
from digsite.record.sweeps import Sweep

RETRIES = 2  # a worker that dies takes its piece of work with it; twice is bad luck, three times is the work


def launch(sweep: Sweep, argument: str, options: Options) -> int:
    work = work_left(sweep, only_failed=options.only_failed)
    return Pool(work, _workers(argument, options), options, settings(sweep, options)).run()


def _workers(argument: str, options: Options) -> int:
    if argument and not (argument.isdigit() and int(argument) > 0):
        raise UsageError(
            f"'local:{argument}' is not a launcher.", hint="Write local:N with N processes, as in local:2."
        )
    workers = int(argument or 1)
    return min(workers, options.max_parallel) if options.max_parallel else workers


class Pool:
    """Threads that each feed one child process; the first signal stops scheduling, then the children."""

    def __init__(self, work: Sequence[Work], n: int, options: Options, env: dict[str, str]) -> None:
        self.work: queue.SimpleQueue[tuple[Work, int]] = queue.SimpleQueue()
        for piece in work:
            self.work.put((piece, 0))
        self.n = min(n, len(work))
        self.options = options
        self.env = env
        self.stopped: int | None = None
        self.codes: list[int] = []
        self.children: dict[int, subprocess.Popen[str]] = {}

    def run(self) -> int:
        threads = [threading.Thread(target=self._feed, args=(i,), daemon=True) for i in range(self.n)]
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():  # joined in slices, so that signals are seen
                    thread.join(0.2)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.stopped or max(self.codes, default=0)

    def _stop(self, number: int, frame: object) -> None:
        self.stopped = 130 if number == signal.SIGINT else 75
        for child in list(self.children.values()):
            child.send_signal(number)

    def _feed(self, index: int) -> None:
        child = None
        while self.stopped is None:
            try:
                piece, tries = self.work.get_nowait()
            except queue.Empty:
                break
            child = child or self._spawn(index)
            if not self._give(child, piece):
                self._reap(index, child)
                child = None
                if self.stopped is None and tries < RETRIES:
                    self.work.put((piece, tries + 1))
                else:
                    self.codes.append(1)
        if child:
            self._reap(index, child)

    def _give(self, child: subprocess.Popen[str], piece: Work) -> bool:
        """Whether the child answered for every run of the piece."""
        assert child.stdin and child.stdout
        try:
            child.stdin.write(piece.line + "\n")
            child.stdin.flush()
        except BrokenPipeError:
            return False
        for _ in piece.paths:
            answer = child.stdout.readline()
            if not answer:
                return False
            self.codes.append(int(answer.rsplit(" ", 1)[1]))
        if self.options.fail_fast and self.codes[-1]:
            self.stopped = self.codes[-1]
        return True

    def _spawn(self, index: int) -> subprocess.Popen[str]:
        # Its own process group: Ctrl-C on the terminal reaches the pool, and the pool tells its children once.
        child = subprocess.Popen(
            self.options.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment(index),
            process_group=0,
        )
        self.children[index] = child
        return child

    def _reap(self, index: int, child: subprocess.Popen[str]) -> None:
        assert child.stdin and child.stdout
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.wait()
        child.stdout.close()
        self.children.pop(index, None)

    def _environment(self, index: int) -> dict[str, str]:
        """The GPUs are shared out in turn."""
        environment = {**os.environ, **self.env}
        visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
        if visible and self.n > 1:
            environment["CUDA_VISIBLE_DEVICES"] = visible[index % len(visible)]
        return environment
