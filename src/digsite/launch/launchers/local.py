"""A pool of processes on this machine: each stays warm and takes one piece of work after the other."""

import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from digsite.base.errors import UsageError
from digsite.launch.work import Options, Work, process_environment, work_left
from digsite.record.layout import RunDir
from digsite.record.lock import end_silent
from digsite.record.sweeps import Sweep

LOOK_EVERY_S = 0.2  # whether a child that says nothing is still there
# A worker that is killed takes its piece of work with it; twice is bad luck, three times is the work.
RETRIES = 2


def launch(sweep: Sweep, argument: str, options: Options) -> int:
    """`argument` is the number of processes."""
    work = work_left(sweep, only_failed=options.only_failed)
    return Pool(work, _count_workers(argument, options), options, process_environment(sweep, options)).run()


def _count_workers(argument: str, options: Options) -> int:
    """As written, or as many as there are cores."""
    if argument and not (
        argument.isascii() and argument.isdigit() and int(argument[:6]) > 0 and len(argument) < 6
    ):
        raise UsageError(
            f"'local:{argument[:40]}' is not a launcher.",
            hint="Write local:N with N processes, as in local:2.",
        )
    workers = int(argument or 1)
    return min(workers, options.max_parallel) if options.max_parallel > 0 else workers


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
        self.said: dict[int, bytearray] = {}
        self.children: dict[int, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        """One thread a process; the main thread waits in slices, so that signals are seen."""
        threads = [threading.Thread(target=self._feed_safely, args=(i,), daemon=True) for i in range(self.n)]
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
        """Each child is told once and saves a checkpoint."""
        self.stopped = 130 if number == signal.SIGINT else 75
        for child in list(self.children.values()):
            child.send_signal(number)

    def _feed_safely(self, index: int) -> None:
        """A thread that fails takes nothing with it unsaid: its traceback is shown, and the pool's code is not 0."""
        try:
            self._feed(index)
        except Exception:
            self.codes.append(1)
            raise

    def _feed(self, index: int) -> None:
        """Work until there is none, in a process that is started when it is first needed."""
        child = None
        while self.stopped is None:
            try:
                piece, tries = self.work.get_nowait()
            except queue.Empty:
                break
            child = child or self._spawn(index)
            if not self._give(child, piece):
                code = self._reap(index, child)
                with suppress(OSError):  # what it has started computes for nobody now
                    os.killpg(child.pid, signal.SIGKILL)
                child = None
                if self.stopped is None:
                    self._lost(piece, tries, code)
        if child:
            self._reap(index, child)

    def _give(self, child: subprocess.Popen[bytes], piece: Work) -> bool:
        """Whether the child answered for every run of the piece."""
        assert child.stdin and child.stdout
        try:
            child.stdin.write(os.fsencode(piece.line + "\n"))
            child.stdin.flush()
        except OSError:
            return False
        for path in piece.paths:
            code = None
            while code is None:
                answer = self._line(child)
                if answer is None:
                    return False
                code = _exit_code(answer, str(path))
            self.codes.append(code)
        if self.options.fail_fast and self.codes[-1]:
            self.stopped = self.codes[-1]
        return True

    def _line(self, child: subprocess.Popen[bytes]) -> str | None:
        """The next line of a child, or None as soon as it is gone, even where a process of its own keeps the pipe open."""
        assert child.stdout
        buffer = self.said.setdefault(child.pid, bytearray())
        while b"\n" not in buffer:
            gone = child.poll() is not None
            if self._is_readable(child):
                piece = os.read(child.stdout.fileno(), 1 << 16)
                buffer += piece
                if piece:
                    continue
                time.sleep(LOOK_EVERY_S / 4)  # closed, and not ended yet
            if gone:
                return None
        line, _, rest = bytes(buffer).partition(b"\n")
        self.said[child.pid] = bytearray(rest)
        return line.decode(errors="surrogateescape")

    @staticmethod
    def _is_readable(child: subprocess.Popen[bytes]) -> bool:
        """Whether the child has said something, waited for a moment."""
        with selectors.DefaultSelector() as waiting:
            assert child.stdout
            waiting.register(child.stdout, selectors.EVENT_READ)
            return bool(waiting.select(LOOK_EVERY_S))

    def _lost(self, piece: Work, tries: int, code: int) -> None:
        """A child ended without an answer: killed from outside it is tried again, by its own doing it would only repeat."""
        killed = code < 0
        if killed and tries < RETRIES:
            self.work.put((piece, tries + 1))
            return
        how = (
            f"was ended by signal {-code} {tries + 1} times"
            if killed
            else f"ended itself with exit code {code}"
        )
        for path in piece.paths:
            end_silent(RunDir(path), f"Its process {how} without a word.")
        sys.stderr.write(f"digsite: the process of '{piece.paths[0]}' {how} without a word.\n")
        self.codes.append(1)
        if self.options.fail_fast:
            self.stopped = 1

    def _spawn(self, index: int) -> subprocess.Popen[bytes]:
        # Its own process group: Ctrl-C on the terminal reaches the pool, and the pool tells its children once.
        child = subprocess.Popen(
            [*self.options.command, "--with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(index),
            process_group=0,
        )
        self.children[index] = child
        return child

    def _reap(self, index: int, child: subprocess.Popen[bytes]) -> int:
        """Its exit code, and what it last said."""
        assert child.stdin and child.stdout
        with suppress(OSError):
            child.stdin.close()
        code = child.wait()
        child.stdout.close()
        self.children.pop(index, None)
        self.said.pop(child.pid, None)
        return code

    def _environment(self, index: int) -> dict[str, str]:
        """The GPUs are shared out in turn."""
        environment = {**os.environ, **self.env}
        visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
        if visible and self.n > 1:
            environment["CUDA_VISIBLE_DEVICES"] = visible[index % len(visible)]
        return environment


def _exit_code(answer: str, path: str) -> int | None:
    """The exit code in a line that answers for `path`; None for any other line."""
    said, _, code = answer.rstrip("\n").rpartition(" ")
    return int(code) if said == path and code.isascii() and code.isdigit() and len(code) < 4 else None
