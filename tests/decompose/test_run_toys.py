"""A toy study stopped in the middle and resumed ends in the same bytes."""

import pytest

from digsite.decompose import Decomposition
from digsite.decompose.fit import Fit
from digsite.runs import read_results
from digsite.studies import find_study
from digsite.studies.plan import plan, start
from digsite.worker.execute import How, execute


def planned(root):
    return start(
        plan(
            find_study("tms_5-2"), size="smoke", overrides=["seeds=2", "decompose.steps=24", "check_every=6"]
        ),
        root,
    )


def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path, monkeypatch):
    whole, stopped = planned(tmp_path / "a"), planned(tmp_path / "b")
    often = How(device="cpu", quiet=True, checkpoint_every_s=0)
    assert execute(whole, often) == 0
    step = Fit.step

    def fails(self, i):
        if i == 14:
            raise RuntimeError("the machine went away")
        return step(self, i)

    monkeypatch.setattr(Fit, "step", fails)
    assert execute(stopped, often) == 1
    monkeypatch.setattr(Fit, "step", step)
    assert execute(stopped, often) == 0
    assert stopped.results.read_bytes() == whole.results.read_bytes()
    course = "tables/course.csv"
    assert (stopped.path / course).read_bytes() == (whole.path / course).read_bytes()


def test_what_a_toy_study_claims(tmp_path):
    run = planned(tmp_path)
    assert execute(run, How(device="cpu", quiet=True)) == 0
    claims = {claim.name: claim for claim in read_results(run.results).claims}
    for name in ("linear1/mmcs", "linear1/ml2r", "linear1/alive_components", "linear1/ci_l0", "faithfulness",
                 "features_recovered", "recovered_0.2"):  # fmt: skip
        assert claims[name].n == 2, name
    assert 0.5 < claims["linear1/mmcs"].null < 1
    found = Decomposition.load(run.path)
    assert found.modules == ["linear1", "linear2"]
    assert (run.figures / "permuted_ci.png").stat().st_size > 5_000


def test_an_unknown_figure_is_answered(tmp_path):
    planned_run = start(
        plan(find_study("tms_5-2"), size="smoke", overrides=["figures=[uvs]", "decompose.steps=2"]), tmp_path
    )
    assert execute(planned_run, How(device="cpu", quiet=True)) != 0
    assert "'uvs' is not a figure" in planned_run.status().message


@pytest.mark.parametrize("stop", ["stop.checks=1", "stop.checks=0"])
def test_recovered_members_stop_early_when_asked(tmp_path, stop, monkeypatch):
    from digsite.decompose import run_toys

    right = {"step": 1.0, "error_mean": 0.0, "error_max": 0.0, "recovered": 1.0}
    monkeypatch.setattr(run_toys, "check", lambda fit, config, step: right | {"step": step})
    overrides = ["decompose.steps=12", "check_every=4", "metrics={}", "figures=[]", stop]
    run = start(plan(find_study("tms_5-2"), size="smoke", overrides=overrides), tmp_path)
    assert execute(run, How(device="cpu", quiet=True)) == 0
    rows = (run.path / "tables/course.csv").read_text().splitlines()[1:]
    assert len(rows) == (1 if stop.endswith("1") else 3)
