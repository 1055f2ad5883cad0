"""What the attacks share: a folder of runs with every record in it, and calls that report a traceback as what it is."""

import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from digsite.record import RunDir
from digsite.record.sweeps import Sweep, find_sweep
from digsite.serve import build_app
from digsite.studies import sweep as planner
from digsite.worker.execute import How, execute_run


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """Two finished runs of one sweep, with tables, views, figures and checkpoints; made once and then copied."""
    root = tmp_path_factory.mktemp("attacked") / "runs"
    studies = [Path(__file__).parents[1] / "plugin" / "studies"]
    spaces = planner.spaces_from_words(["showcase"], ["seed=0,1", "steps=20"], samples=1, seed=0)
    sweep = planner.write_sweep(planner.plan_jobs(spaces, extra=studies), root, name="pair")
    for member in sweep.members:
        assert execute_run(member.run, How(device="cpu", quiet=True)) == 0
        member.run.error.write_text('{"message": "earlier", "type": "ValueError", "traceback": "..."}')
    return root


@pytest.fixture
def house(built, tmp_path) -> tuple[Path, Sweep, list[RunDir]]:
    """A copy of the folder, its sweep and its two runs."""
    root = tmp_path / "runs"
    shutil.copytree(built, root, dirs_exist_ok=True)
    sweep = find_sweep("pair", root)
    return root, sweep, [member.run for member in sweep.members]


@pytest.fixture
def visit(house):
    """Ask the dashboard; the answer's code and text, and never an exception."""
    fenced: Any = build_app(house[0])
    with TestClient(fenced, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.forget = lambda: fenced.app.state.site.index.__init__(
            house[0]
        )  # as a dashboard that is started anew
        yield client


@pytest.fixture
def call(capfd) -> Callable[..., tuple[int, str, str]]:
    """Call a verb in this process: exit code, output, errors; code -1 stands for a traceback."""
    from digsite.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        argv, sys.argv = sys.argv, ["digsite", *map(str, words)]
        broken = ""
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            code, broken = -1, traceback.format_exc()
        finally:
            sys.argv = argv
        said = capfd.readouterr()
        return code, said.out, said.err + broken

    return run
