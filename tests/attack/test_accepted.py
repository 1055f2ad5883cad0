"""What planning accepts, a smoke finishes, or refuses in one sentence: fuzzed settings are not only planned but run."""

import json
import os
import random
import resource
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch

from digsite.base.errors import DigsiteError
from digsite.config.overrides import leaf_paths
from digsite.studies import all_studies, find_study
from digsite.studies.plan import Plan, plan_run, start_run
from digsite.worker import methods
from digsite.worker.execute import How, execute_run

SECONDS = float(
    os.environ.get("DIGSITE_SMOKE_S", "6")
)  # of processor time; what still runs then has been accepted
MEMORY = (
    6 << 30
)  # bytes of address space, so that a wild setting ends in a MemoryError and not in this machine's swap
SMOKES = int(os.environ.get("DIGSITE_SMOKES", "500"))
SIZES = (0, 1, 2, 3, 5, 8, 17, 64, 1000, 635552, -1, 0.5, 1e-9, 1255.0, 1e30, -3.0)
PATIENCE = ("members", "steps", "seeds", "n_steps", "epochs", "num_models", "draws", "resamples", "batches")


def neighbor(leaves: dict, rng: random.Random) -> list[str]:
    """One or two settings of the smoke changed to values that look possible."""
    chosen = rng.sample(sorted(leaves), min(len(leaves), rng.choice((1, 1, 2))))
    return [f"{path}={json.dumps(_changed(leaves[path], rng))}" for path in chosen]


def _changed(value, rng: random.Random):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([s for s in SIZES if isinstance(s, int)] + [value + 1, value * 3, value // 2])
    if isinstance(value, float):
        return rng.choice([*SIZES, value * 100, value / 100])
    if isinstance(value, list) and value:
        return rng.choice((value[:1], value * 2, value[::-1], []))
    return rng.choice((None, 1, 0, [], "text", value))


def accepted_plans(name: str, n: int, seed: int) -> Iterator[tuple[list[str], Plan]]:
    """`n` plans of a study that validation lets through, with the settings that were changed."""
    study, found = find_study(name), 0
    leaves = leaf_paths(plan_run(study, size="smoke").tree)
    for i in count():
        words = neighbor(leaves, random.Random(zlib.crc32(f"{name} {seed} {i}".encode())))
        if any(path.rpartition(".")[2].partition("=")[0] in PATIENCE for path in words):
            continue  # more of the same takes longer and breaks nothing new
        try:
            planned = plan_run(study, size="smoke", overrides=words)
        except DigsiteError:
            continue
        yield words, planned
        found += 1
        if found == n:
            return


def run_limited(planned, root: Path) -> tuple[int, dict]:
    """Execute in a forked process with little memory and time: the exit code, 0 when it still ran, and what it recorded."""
    run = start_run(planned, root)
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS) + 5))
            signal.signal(signal.SIGXCPU, lambda *_: os._exit(0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = execute_run(run, How(device="cpu", quiet=True))
        finally:
            os._exit(code)
    deadline = time.monotonic() + 15 * SECONDS
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 0, {}
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1]), json.loads(
        run.error.read_text()
    ) if run.error.exists() else {}


RAW = ("Error:", "Exception:", "Iteration:")


def attack_runs(name: str, n: int, seed: int, root: Path) -> tuple[int, list]:
    """How many accepted plans of a study finished, and those that ended in an exception instead of a sentence."""
    torch.set_num_threads(1)
    methods.find_function(find_study(name).method)  # imported here, and not again in every child
    finished, broken = 0, []
    for words, planned in accepted_plans(name, n, seed):
        code, error = run_limited(planned, root)
        finished += code == 0
        message = str(error.get("message", ""))
        if code not in (0, 1, 2, 3) or (code and (not message or message.partition(" ")[0].endswith(RAW))):
            broken.append((words, code, message[:300]))
    sys.stdout.write(f"{n} settings were accepted, {finished} of them finished\n")
    return finished, broken


def smokes() -> list[str]:
    """Studies whose data is at hand."""
    data = Path(os.environ.get("DIGSITE_DATA", "/nowhere"))
    return sorted(n for n, s in all_studies().items() if all((data / need).is_dir() for need in s.needs))


STUDIES = smokes()


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_accepted_settings_finish_or_are_refused_in_a_sentence(tmp_path, name):
    """500 smokes, which the studies share."""
    _, broken = attack_runs(name, -(-SMOKES // len(STUDIES)), 27, tmp_path)
    assert not broken, (len(broken), broken)
