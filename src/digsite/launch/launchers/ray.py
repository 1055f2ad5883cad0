"""Ray core, on a cluster or started here: one task per chunk of runs, tried again when its worker dies."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from digsite.base.errors import UsageError, require_package
from digsite.launch.work import Options, Work, cut_chunks, process_environment, work_left
from digsite.record.sweeps import Sweep

RETRIES = 3


def launch(sweep: Sweep, argument: str, options: Options) -> int:
    """`argument` is the cluster's address; without one a cluster is started here."""
    pieces = work_left(sweep, only_failed=options.only_failed)
    if not pieces:
        return 0
    ray = require_package("ray", extra="ray")
    _connect_ray(ray, argument or options.address)
    try:
        return _run_parts(
            ray, list(cut_chunks(pieces, options.chunk or 1)), options, process_environment(sweep, options)
        )
    finally:
        ray.shutdown()


def _connect_ray(ray, address: str) -> None:
    """Refuses an address that does not answer, where ray would wait for minutes."""
    if address and address != "auto":
        _must_answer(address)
    if not address:  # a cluster of our own, on loopback: no token file in the user's home folder
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # It gets a small object store: only paths and exit codes travel through it.
    own = {} if address else {"include_dashboard": False, "object_store_memory": 200_000_000}
    ray.init(address=address or "local", logging_level="ERROR", log_to_driver=False, **own)


def _must_answer(address: str) -> None:
    """Ray tries an address that is not there for half a minute and then prints pages."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except (OSError, ValueError):
        raise UsageError(
            f"No Ray cluster answers at '{address}'.",
            hint="Start one: ray start --head, or leave the address out.",
        ) from None


def _run_parts(ray, parts: Sequence[Sequence[Work]], options: Options, env: dict[str, str]) -> int:
    """At most so many tasks at once, in the order of the plan."""
    task = ray.remote(num_cpus=options.cpus, num_gpus=options.gpus, max_retries=RETRIES)(execute_chunk)
    waiting = [[[str(p.absolute()) for p in piece.paths] for piece in part] for part in parts]
    limit = options.max_parallel or len(waiting)
    running, codes = [], []
    while waiting or running:
        while waiting and len(running) < limit:
            running.append(task.remote(waiting.pop(0), options.command, env))
        done, running = ray.wait(running)
        codes += ray.get(done)
        if options.fail_fast and codes[-1]:
            waiting.clear()
    return max(codes, default=0)


def execute_chunk(pieces: list[list[str]], command: list[str], env: dict[str, str]) -> int:
    """Runs in a Ray worker: a child process does the work and dies with its worker, so no lock outlives it."""
    text = "".join("\t".join(piece) + "\n" for piece in pieces)
    done = subprocess.run(
        command,
        input=text,
        text=True,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
    )
    return done.returncode


def _die_with_parent() -> None:
    """A child whose task is gone would go on alone."""
    if sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
