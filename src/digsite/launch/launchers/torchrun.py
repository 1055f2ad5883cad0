"""torchrun: the processes of one machine share each run, piece after piece of the sweep."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from digsite.base.errors import UsageError
from digsite.launch.work import Options, Work, process_environment, work_left
from digsite.record.layout import RunDir
from digsite.record.lock import end_silent
from digsite.record.sweeps import Sweep

REQUEUE = 75
# Loopback by number: the name of this machine may lead nowhere.
MEET = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")


def launch(sweep: Sweep, argument: str, options: Options) -> int:
    """`argument` is the number of processes that share each run."""
    n, codes, env = count_processes(argument), [0], {**os.environ, **process_environment(sweep, options)}
    for piece in work_left(sweep, only_failed=options.only_failed):
        codes.append(run_piece(torchrun_command(piece, n, options), piece, env))
        if codes[-1] == REQUEUE or (codes[-1] and options.fail_fast):
            break
    return max(codes)


def count_processes(argument: str) -> int:
    """As written, or one for each device."""
    if argument and not (
        argument.isascii() and argument.isdigit() and int(argument[:6]) > 0 and len(argument) < 6
    ):
        raise UsageError(
            f"'torchrun:{argument}' is not a launcher.",
            hint="Write torchrun:N with N processes that share each run, as in torchrun:2.",
        )
    return int(argument or 2)


def torchrun_command(piece: Work, n: int, options: Options) -> list[str]:
    """`digsite exec` as every launcher starts it, n times; paths as arguments, for n readers cannot share one input."""
    python, _, _, *words = options.command
    starter = [python, "-m", "torch.distributed.run", f"--nproc_per_node={n}", *MEET, "-m", "digsite"]
    return [*starter, *words, *(["--packed"] if piece.packed else []), *map(str, piece.paths)]


def run_piece(words: list[str], piece: Work, env: dict[str, str]) -> int:
    """torchrun has one code for all failures, so the answer is read from the run directories."""
    # Its own process group: Ctrl-C on the terminal would reach every process, and then torchrun would tell them again.
    child = subprocess.Popen(words, env=env, stdout=sys.stderr, process_group=0)
    with _passed_on(child):
        code = child.wait()
    for path in piece.paths:
        message = f"Its processes ended without a word (exit code {code} of torchrun)."
        end_silent(RunDir(path), message, states=("running",))
    states = [RunDir(path).status().state for path in piece.paths]
    if "interrupted" in states:
        return REQUEUE
    return 0 if states == ["finished"] * len(states) else code or 1


@contextmanager
def _passed_on(child: subprocess.Popen) -> Iterator[None]:
    """Any wish to stop becomes the one signal that torchrun hands to its processes."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, lambda *_: child.send_signal(signal.SIGTERM)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
