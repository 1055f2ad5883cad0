"""Runs made once by the real worker, served through the ASGI client, and hand-made folders for the odd cases."""

import json
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from digsite.record.layout import RunDir, create_run
from digsite.record.status import Status, write_status
from digsite.serve import build_app


def execute_showcase(root: Path, *overrides: str) -> RunDir:
    from digsite.cli._start import execute_and_report
    from digsite.studies import find_study
    from digsite.studies.plan import plan_run, start_run

    studies = Path(__file__).parents[1] / "plugin" / "studies"
    run = start_run(plan_run(find_study("showcase", [studies]), size="smoke", overrides=overrides), root)
    assert execute_and_report([run], device="cpu", quiet=True) == [0]
    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A runs folder with four finished runs: three seeds and one other setting. Read only."""
    root = tmp_path_factory.mktemp("made") / "runs"
    for overrides in (["seed=0"], ["seed=1"], ["seed=2"], ["lr=0.03", "hidden=3"]):
        execute_showcase(root, *overrides)
    return root


@pytest.fixture(scope="session")
def run(made) -> RunDir:
    """The run with seed 0 and the settings of the study; ids of one minute are in no order."""
    runs = [RunDir(path) for path in (made / "showcase").iterdir()]
    return next(r for r in runs if r.plan()["config"]["seed"] == 0 and "hidden" not in r.plan()["given"])


@pytest.fixture
def client(made):
    with TestClient(build_app(made), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def root(tmp_path) -> Path:
    """An empty runs folder."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def served(root, monkeypatch):
    monkeypatch.setattr("digsite.serve.index.FRESH_S", 0.0)  # runs are made after the server has started
    with TestClient(build_app(root), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def copied(made, run, root) -> RunDir:
    """A copy of a finished run that a test may spoil."""
    target = root / "showcase" / run.id
    shutil.copytree(run.path, target)
    return RunDir(target)


@pytest.fixture
def planned(root):
    """Make a run by hand: state, config, views."""

    def make(study="study", run_id=None, *, config=None, views=None, launch=None, **status) -> RunDir:
        plan = {"study": study, "method": "a.b", "config": config or {"seed": 0}, **(launch or {})}
        made = create_run(root, plan, run_id=run_id)
        fields = {"state": "finished", "study": study, "id": made.id, **status}
        write_status(made.status_file, Status(**fields))
        if views is not None:
            made.views.write_text(json.dumps(views))
        return made

    return make


@pytest.fixture
def address():
    """The path of a run's page."""
    return lambda run: f"/runs/{run.path.parent.name}/{run.id}"
