import json

import pytest
import torch

from digsite.base.errors import DigsiteError
from digsite.figures import curves
from digsite.record import create_run, read_results
from digsite.record.verdict import cite
from digsite.report.facts import gather_facts
from digsite.worker.process import StopRequest
from digsite.worker.progress import Progress
from digsite.worker.run import Run, WrittenTwice


@pytest.fixture
def run(tmp_path) -> Run:
    directory = create_run(tmp_path, {"study": "s", "method": "countdown.countdown", "config": {}})
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
    names = [claim["name"] for claim in stored["measurements"]]
    assert names == ["recovered", "a/mmcs", "b/mmcs", "b/loss", "a/loss"]


def test_figures_are_shown_in_the_order_drawn(run):
    for name in ("telling", "detail", "also"):
        run.figure(name, curves({"x": ([0, 1], [0, 1])}, x="x", y="y"))
    assert [picture.name for picture in gather_facts(run.directory).pictures] == ["telling", "detail", "also"]


def test_work_done_once_inside_a_counting_stage_does_not_reset_the_count(run):
    """Once a grid of 55 cells said "29/0" and promised to end before it began."""
    run.stage("cells", 2)
    run.once("cell-a", lambda: {"x": torch.ones(1)})
    run.let_signals_in(1)
    run.once("cell-b", lambda: {"x": torch.ones(1)})
    status = run.progress.status
    assert (status.stage, status.step, status.total) == ("cell-b", 1, 2)
    run.let_signals_in(2)
    run.once("summary", lambda: {"x": torch.ones(1)})
    status = run.progress.status
    assert (status.stage, status.step, status.total) == ("summary", 0, 0)


def test_the_headline_comes_first_then_claims_then_measurements(run):
    run.claim("bare", 1.0)
    run.claim("also", 0.4, low=0.3, high=0.5, null=0.1)
    run.claim("main", 0.9, low=0.8, high=1.0, n=5, null=0.5, kind="share", better="higher")
    run.headline(["main"])
    run.verdict(f"It is {cite('main')}, by chance {cite('main', 'null')}.")
    run.finish()
    results = read_results(run.directory.results)
    assert results and [claim.name for claim in results.claims] == ["main", "also", "bare"]
    assert results.verdict == "It is 90.0 %, by chance 50.0 %." and results.headline == ("main",)


def test_the_null_is_the_strongest_rival(run):
    """A verdict once named the weak rival (16 %) and hid the one that beat it (95.5)."""
    made = run.claim(
        "kept", 94.6, low=94.0, high=95.0, better="higher", rivals={"magnitude": 16.0, "largest": 95.5}
    )
    assert made.null == 95.5 and "largest" in made.null_is
    assert run.claim("loss", 1.0, better="lower", rivals={"a": 3.0, "b": 2.0}).null == 2.0


def test_a_verdict_with_a_number_of_its_own_ends_the_run(run):
    run.claim("a", 41.18)
    run.verdict("The gain is 7.06.")
    with pytest.raises(DigsiteError, match=r"says 7\.06"):
        run.finish()
    assert not run.directory.results.exists()


def test_one_name_is_written_once(run):
    run.table("courses/mlp", {"x": [1]})
    run.claim("a", 1.0)
    run.tensors("t", {"x": torch.ones(1)})
    for again in (
        lambda: run.table("courses/mlp", {"x": [2]}),
        lambda: run.claim("a", 2.0),
        lambda: run.tensors("t", {"x": torch.ones(1)}),
        lambda: run.json("j", 1) and run.json("j", 2),
    ):
        with pytest.raises(WrittenTwice, match="already"):
            again()


def test_no_two_views_show_the_same_columns_under_different_names(run):
    """`track.transition` drew three measures from one table that was overwritten."""
    run.view("mlp: rank", kind="curve", source="tables/courses/mlp.csv", x="step", y=["fc1"], y_label="rank")
    with pytest.raises(WrittenTwice, match="same columns of 'tables/courses/mlp.csv'"):
        run.view(
            "mlp: norm", kind="curve", source="tables/courses/mlp.csv", x="step", y=["fc1"], y_label="norm"
        )
    run.view("mlp: other", kind="curve", source="tables/courses/mlp.csv", x="step", y=["fc2"])


def test_what_is_not_a_number_becomes_a_hole(run):
    assert run.claim("a", float("nan"), null=float("inf")).value is None
