"""Models that lie: each is answered or refused in one sentence, in memory bounded by its size, and no code of it runs."""

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from attack_models import hostile_models
from model_families import write_family

from digsite.base.errors import DigsiteError
from digsite.cli import main
from digsite.models.opening import open_model
from digsite.weights import open_weights

ROOM = 200_000_000  # bytes beside the file's own: what the libraries take for any model at all
FACTOR = 60  # times its own size: what a compressed file may become, and a copy in float32
SECONDS = 60  # of processor time
ACTS = ("weights", "open", "read", "prune")
SHARE = 7  # of all models the fast test takes one in so many
PARTS = 5  # into which the whole corpus is cut


def act(name: str, path: Path, out: Path) -> None:
    """One way in which a user meets a model."""
    if name == "weights":
        bundle = open_weights(path)
        for tensor in bundle.tensors:
            bundle.tensors[tensor]
    elif name == "open":
        open_model(str(path))
    else:
        more = ["--out", str(out), "--method", "magnitude"] if name == "prune" else ["--json"]
        sys.argv = ["digsite", name, str(path), *more]
        main()


def in_a_child(work: Callable[[], None], said: Path) -> dict:
    """How work ended in a forked process: answered, refused or broken, with its words and the most memory it took on top."""
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
            for number in (1, 2):
                os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            before = peak_bytes()
            outcome = _judge(work)
            sys.stdout.flush()
            sys.stderr.flush()
            found = {**outcome, "bytes": peak_bytes() - before}
            said.with_suffix(".json").write_text(json.dumps(found))
        finally:
            os._exit(0)
    deadline = time.monotonic() + 20 * SECONDS
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(0.005)
    words = said.read_text(errors="replace")
    try:
        return {**json.loads(said.with_suffix(".json").read_text()), "words": words}
    except OSError:
        return {"outcome": "hung", "text": "it ended by a signal or never", "bytes": 0, "words": words}


def _judge(work: Callable[[], None]) -> dict:
    try:
        work()
    except DigsiteError as error:
        return {"outcome": "refused", "text": error.message}
    except SystemExit as stop:
        return {"outcome": "refused" if stop.code else "answered", "text": ""}
    except BaseException:
        return {"outcome": "broken", "text": traceback.format_exc()[-1500:]}
    return {"outcome": "answered", "text": ""}


def peak_bytes() -> int:
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)


def find_faults(path: Path, name: str, found: dict) -> list[str]:
    """What an act on a model must not have done."""
    told = found["text"] or found["words"]
    faults = []
    if found["outcome"] in ("broken", "hung") or "Traceback" in found["words"]:
        faults.append(f"{found['outcome']}: {told[-1500:]}")
    elif found["outcome"] == "refused":
        sentence, _, hint = (found["text"] or found["words"].partition("digsite: ")[2].rstrip()).partition(
            "\n"
        )
        if not sentence or "\n" in hint or len(sentence) > 1500:
            faults.append(f"not one sentence: {told[-700:]!r}")
        if "digsite: " in found["words"] and found["words"].count("digsite: ") != 1:
            faults.append(f"more than a sentence: {told[-700:]!r}")
    if found["bytes"] > FACTOR * size_of(path) + ROOM:
        faults.append(f"{found['bytes']:,} bytes of memory for a file of {size_of(path):,}")
    return [f"{name} {path.name}: {fault}" for fault in faults]


@pytest.fixture(scope="module")
def models(tmp_path_factory, transformers) -> dict[str, Path]:
    """The whole corpus; what their code would write is named `mark`. Libraries are loaded before anything is measured."""
    root = tmp_path_factory.mktemp("hostile")
    whole = write_family(root / "whole", "gpt2", transformers)
    for name in ACTS:
        with suppress(SystemExit):
            act(name, whole, root / "pruned")
    (root / "models").mkdir()
    return hostile_models(root / "models", whole, root / "mark")


def attack(models: dict[str, Path], tmp_path: Path, first: int, every: int) -> int:
    torch.set_num_threads(1)
    faults, tried, outcomes = [], 0, dict.fromkeys(("answered", "refused", "broken", "hung"), 0)
    for i, path in enumerate(models.values()):
        for j, name in enumerate(ACTS if i % every == first else ()):
            out = tmp_path / f"{i}-{j}"
            found = in_a_child(lambda n=name, p=path, o=out: act(n, p, o), tmp_path / f"{i}-{j}.log")
            outcomes[found["outcome"]] += 1
            faults += find_faults(path, name, found)
            tried += 1
    assert not any(path.parents[1].joinpath("mark").exists() for path in models.values()), (
        "code of a model ran"
    )
    assert not faults, f"{len(faults)} of {tried}, {outcomes}\n" + "\n".join(faults)
    assert outcomes["answered"] and outcomes["refused"]
    return tried


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_hostile_models_are_answered_or_refused_in_a_sentence(models, tmp_path):
    assert attack(models, tmp_path, 0, SHARE) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_every_hostile_model(models, tmp_path, part):
    assert len(models) >= 102
    assert attack(models, tmp_path, part, PARTS) >= 4 * 102 // PARTS
