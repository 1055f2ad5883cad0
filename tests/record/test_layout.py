import os

import pytest

from digsite.base.errors import NotFound, UsageError
from digsite.base.stored import Damaged
from digsite.record import RunDir, create_run

LAUNCH = {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 1, "seed": 3}}


def test_a_new_run_is_planned_and_its_launch_is_pinned(tmp_path):
    run = create_run(tmp_path / "runs", LAUNCH)
    assert run.status().state == "planned"
    assert run.status().seed == 3
    assert run.plan()["config"] == LAUNCH["config"]
    assert (tmp_path / "runs" / ".gitignore").read_text() == "*\n"


def test_a_newer_schema_is_refused_with_both_numbers(tmp_path):
    run = create_run(tmp_path, LAUNCH)
    run.launch.write_text(run.launch.read_text().replace("schema: 2", "schema: 9"))
    with pytest.raises(UsageError, match=r"has schema 9, but this digsite reads up to 2.*pip install -U"):
        run.plan()


def test_half_a_run_is_named(tmp_path):
    run = create_run(tmp_path, LAUNCH)
    run.launch.write_text("schema: 1\nstudy: countdown\n")
    with pytest.raises(UsageError, match="is damaged: it lacks config, method"):
        run.plan()
    with pytest.raises(NotFound, match="not a run directory"):
        RunDir(tmp_path).plan()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="No permission"):
        create_run(tmp_path / "runs", LAUNCH)


def test_a_launch_file_that_was_cut_or_edited_is_never_believed(tmp_path):
    """Not one byte less and not one digit else: a resumed run would compute something that nobody asked for."""
    run = create_run(tmp_path, LAUNCH)
    whole = run.launch.read_bytes()
    assert run.plan()["config"] == LAUNCH["config"]
    for size in range(len(whole)):
        run.launch.write_bytes(whole[:size])
        assert isinstance(run.read_asked(), Damaged), whole[:size]
    for edited in (whole.replace(b"seed: 3", b"seed: 4"), b"# x\n" + whole):
        assert edited != whole
        run.launch.write_bytes(edited)
        assert isinstance(run.read_asked(), Damaged), edited


def test_a_run_of_an_older_digsite_has_no_digest(tmp_path):
    run = create_run(tmp_path, LAUNCH)
    run.launch.write_text("schema: 1\nstudy: s\nmethod: m.m\nconfig: {seed: 1}\n")
    assert run.plan()["config"] == {"seed": 1}
