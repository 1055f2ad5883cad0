"""A report for W&B is composed and stored without the hub, and W&B's own classes read it back."""

import json

import pytest

from digsite.base.errors import DigsiteError
from digsite.mirrors import wandb_report
from digsite.record import create_run
from digsite.worker.execute import How, execute_run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("wandb_workspaces")


@pytest.fixture
def runs(tmp_path):
    made = []
    for seed in (0, 1):
        for steps in (2, 3):
            launch = {
                "study": "countdown",
                "purpose": "Do they add up?",
                "method": "countdown.countdown",
                "config": {"steps": steps, "seed": seed},
            }
            made.append(create_run(tmp_path, launch))
            assert execute_run(made[-1], How(device="cpu", quiet=True)) == 0
    return made


def test_the_file_holds_text_runs_and_panels_that_wandb_reads_back(runs, tmp_path, monkeypatch):
    import wandb_workspaces.reports.v2 as api
    from wandb_workspaces.reports.v2 import internal

    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    out = tmp_path / "report.json"
    assert wandb_report.publish_report(runs, out, title="sweep s", project="p", entity="me") == str(out)
    stored = json.loads(out.read_text())
    model = internal.ReportViewspec(
        display_name=stored["displayName"],
        description=stored["description"],
        project=internal.Project(name="p", entity_name="me"),
        spec=json.dumps(stored["spec"]),
    )
    text, grid = api.Report._from_model(model).blocks
    assert "Do they add up?" in text.text and "| 2 | 2 |" in text.text
    assert all(run.id in grid.runsets[0].filters for run in runs)
    assert [type(panel).__name__ for panel in grid.panels] == ["ParallelCoordinatesPlot", "LinePlot"]
    assert {column.metric.name for column in grid.panels[0].columns} == {
        "seed",
        "steps",
        "measurements/total",
    }
    assert grid.panels[1].y[0].name == "total"


def test_a_hub_that_does_not_answer_is_one_sentence(runs, tmp_path, monkeypatch):
    def fail(self, *_, **__):
        raise ConnectionError("nobody there")

    import wandb_workspaces.reports.v2 as api

    monkeypatch.setattr(api.Report, "save", fail)
    with pytest.raises(DigsiteError, match="W&B did not take the report: nobody there"):
        wandb_report.publish_report(runs, tmp_path / "r.json", title="s", project="p", entity="me")
