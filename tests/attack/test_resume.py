"""What a run is resumed from: a damaged checkpoint, journal or list never blocks it and never changes its numbers."""

import random
import shutil

import pytest

from digsite.base.errors import UsageError
from digsite.record import create_run
from digsite.record.layout import CIRCUMSTANCES
from digsite.worker.execute import How, execute_run

CPU = How(device="cpu", quiet=True)


def countdown(root, **config):
    launch = {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 30, **config}}
    return create_run(root, launch, run_id="one")


def contents(run):
    """Every byte that two equal runs share."""
    files = [p for p in run.path.rglob("*") if p.is_file() and not p.name.startswith(".")]
    kept = [p for p in files if p.name not in CIRCUMSTANCES and p.parent != run.checkpoints]
    return {p.relative_to(run.path).as_posix(): p.read_bytes() for p in kept}


@pytest.fixture
def halves(tmp_path):
    """The bytes of a whole run, and a run that stopped half way with its checkpoints."""
    whole, torn = countdown(tmp_path / "whole"), countdown(tmp_path / "torn", fail_at=17)
    assert execute_run(whole, CPU) == 0
    assert execute_run(torn, How(device="cpu", quiet=True, checkpoint_every_s=0.0)) == 1
    again = countdown(tmp_path / "again")
    shutil.copytree(torn.checkpoints, again.checkpoints)
    shutil.copy(torn.journal, again.journal)
    return contents(whole), again


def test_whole_checkpoints_are_used(halves, caplog):
    whole, run = halves
    assert execute_run(run, CPU) == 0
    assert contents(run) == whole and not caplog.records


@pytest.mark.parametrize("name", ["once-offset.safetensors", "steps-steps.safetensors", "metrics.jsonl"])
@pytest.mark.parametrize("how", ["empty", "cut", "bit", "zeros", "text"])
def test_a_damaged_one_is_computed_again(halves, caplog, name, how):
    whole, run = halves
    path = run.path / name if name == "metrics.jsonl" else run.checkpoints / name
    data = bytearray(path.read_bytes())
    rng = random.Random(f"{name}{how}")
    data[rng.randrange(8, len(data))] ^= 4
    spoiled = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "bit": data,
        "zeros": bytes(len(data)),
        "text": b"{}",
    }
    path.write_bytes(spoiled[how])
    assert execute_run(run, CPU) == 0
    assert contents(run) == whole
    assert "starts over" in caplog.text


def test_an_edited_plan_is_refused(halves):
    _, run = halves
    run.launch.write_text(run.launch.read_text().replace("steps: 30", "steps: 31"))
    with pytest.raises(UsageError, match="cut or edited"):
        execute_run(run, CPU)


def test_what_killed_writers_leave_is_removed(halves):
    whole, run = halves
    for place in (run.path, run.checkpoints):
        (place / ".results.json.12345.part").write_bytes(b"half")
    assert execute_run(run, CPU) == 0
    assert contents(run) == whole and not list(run.path.rglob("*.part"))


def test_empty_lists_of_figures_and_views_are_written_anew(tmp_path):
    run = create_run(tmp_path, {"study": "s", "method": "showcase.showcase", "config": {"steps": 20}})
    run.figures.mkdir()
    run.figure_order.write_bytes(b"")
    run.views.write_bytes(b"")
    assert execute_run(run, CPU) == 0
    assert b"overlap" in run.figure_order.read_bytes() and b"matrix" in run.views.read_bytes()
