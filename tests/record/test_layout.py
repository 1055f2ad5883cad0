import os

import pytest

from digsite.base.errors import NotFound, UsageError
from digsite.record import RunDir, create

LAUNCH = {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 1, "seed": 3}}


def test_a_new_run_is_planned_and_its_launch_is_pinned(tmp_path):
    run = create(tmp_path / "runs", LAUNCH)
    assert run.status().state == "planned"
    assert run.status().seed == 3
    assert run.plan()["config"] == LAUNCH["config"]
    assert (tmp_path / "runs" / ".gitignore").read_text() == "*\n"


def test_a_newer_schema_is_refused_with_both_numbers(tmp_path):
    run = create(tmp_path, LAUNCH)
    run.launch.write_text(run.launch.read_text().replace("schema: 1", "schema: 9"))
    with pytest.raises(UsageError, match=r"has schema 9, but this digsite reads up to 1.*pip install -U"):
        run.plan()


def test_half_a_run_is_named(tmp_path):
    run = create(tmp_path, LAUNCH)
    run.launch.write_text("schema: 1\nstudy: countdown\n")
    with pytest.raises(UsageError, match="half written: it lacks config, method"):
        run.plan()
    with pytest.raises(NotFound, match="not a run directory"):
        RunDir(tmp_path).plan()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="No permission"):
        create(tmp_path / "runs", LAUNCH)
