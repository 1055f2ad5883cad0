import json

import pytest
import torch

from digsite.figures import curves
from digsite.record import create
from digsite.report.facts import gather
from digsite.worker.progress import Progress
from digsite.worker.run import Run
from digsite.worker.signals import StopRequest


@pytest.fixture
def run(tmp_path) -> Run:
    directory = create(tmp_path, {"study": "s", "method": "countdown.countdown", "config": {}})
    return Run(
        directory,
        seed=0,
        device=torch.device("cpu"),
        progress=Progress(directory, quiet=True),
        request=StopRequest(),
        checkpoint_every_s=60,
    )


def test_the_claims_that_the_verdict_rests_on_come_first(run):
    for name in ("b/loss", "a/loss", "a/mmcs", "b/mmcs", "recovered"):
        run.claim(name, 1.0)
    run.verdict("Found.", on=["recovered", "*/mmcs", "not made"])
    run.finish()
    stored = json.loads(run.directory.results.read_text())
    names = [claim["name"] for claim in stored["claims"]]
    assert names == ["recovered", "a/mmcs", "b/mmcs", "b/loss", "a/loss"]


def test_figures_are_shown_in_the_order_drawn(run):
    for name in ("telling", "detail", "also", "detail"):
        run.figure(name, curves({"x": ([0, 1], [0, 1])}, x="x", y="y"))
    assert [picture.name for picture in gather(run.directory).pictures] == ["telling", "detail", "also"]


def test_work_done_once_inside_a_counting_stage_does_not_reset_the_count(run):
    """Once a grid of 55 cells said "29/0" and promised to end before it began."""
    run.stage("cells", 2)
    run.once("cell-a", lambda: {"x": torch.ones(1)})
    run.breathe(1)
    run.once("cell-b", lambda: {"x": torch.ones(1)})
    status = run.progress.status
    assert (status.stage, status.step, status.total) == ("cell-b", 1, 2)
    run.breathe(2)
    run.once("summary", lambda: {"x": torch.ones(1)})
    status = run.progress.status
    assert (status.stage, status.step, status.total) == ("summary", 0, 0)
