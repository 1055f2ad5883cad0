"""The list of runs follows the folder."""

import shutil
from dataclasses import replace

import pytest

from digsite.record.marks import Marks, change_marks
from digsite.record.status import Status, read_status, write_status
from digsite.serve import index as module
from digsite.serve.index import Index


@pytest.fixture
def index(root, monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    return Index(root)


def ids(index):
    return [entry.run.id for entry in index.entries()]


def test_newest_first_over_all_studies(index, planned):
    for i, study in enumerate(["b", "a", "b"]):
        planned(study, f"run{i}", created=float(i))
    assert ids(index) == ["run2", "run1", "run0"]


def test_new_changed_and_removed_runs_are_seen(index, planned):
    run = planned("a", "one", state="running", created=1.0)
    assert index.entries()[0].status.state == "running"
    version = index.version
    write_status(run.status_file, replace(read_status(run.status_file), state="finished", step=9))
    assert index.entries()[0].status.step == 9 and index.version > version
    planned("a", "two", created=2.0)
    assert ids(index) == ["two", "one"]
    shutil.rmtree(run.path)
    assert ids(index) == ["two"]
    shutil.rmtree(run.path.parent)
    assert ids(index) == []


def test_a_run_appears_once_its_launch_file_is_there(index, root):
    (root / "a" / "late").mkdir(parents=True)
    write_status(root / "a" / "late" / "status.json", Status("planned", study="a", id="late"))
    assert ids(index) == []
    (root / "a" / "late" / "launch.yaml").write_text("schema: 1\n")
    assert ids(index) == ["late"]


def test_nothing_moves_while_nothing_changes(index, planned):
    planned("a", "one")
    index.entries()
    version = index.version
    index.entries()
    assert index.version == version


def test_finished_runs_are_not_looked_at_again(index, planned, monkeypatch):
    planned("a", "one")
    index.entries()
    monkeypatch.setattr(module, "read_status", lambda path: pytest.fail("read again"))
    assert ids(index) == ["one"]


def test_hidden_folders_links_and_files_are_no_runs(index, planned, root):
    run = planned("a", "one")
    planned(".trash", "two")
    (root / "a" / "link").symlink_to(run.path)
    (root / "file").write_text("")
    assert ids(index) == ["one"]


def test_no_folder_no_runs(tmp_path):
    assert Index(tmp_path / "none").entries() == []


def test_of_many_runs_the_newest_are_known_by_name_and_read_when_shown(index, planned, monkeypatch):
    monkeypatch.setattr(module, "EAGER", 2)
    for i in range(5):
        planned("a", f"2026010{i + 1}-1200-abc", created=1.7e9 + i)
    newest = index.entries()[0]
    assert newest.run.id == "20260105-1200-abc" and not newest.is_read and index.unread == 5
    index.read_entries([newest])
    assert newest.is_read and newest.status.state == "finished" and index.unread == 4
    assert all(entry.is_read for entry in index.read_all()) and index.unread == 0


def test_what_turns_out_to_be_no_run_leaves_the_list(index, planned, root, monkeypatch):
    monkeypatch.setattr(module, "EAGER", 0)
    planned("a", "one")
    (root / "a" / "empty").mkdir()
    assert len(index.entries()) == 2
    assert [entry.run.id for entry in index.read_all()] == ["one"]


def test_marks_are_seen_when_they_change(index, planned):
    run = planned("a", "one")
    assert index.entries()[0].marks == Marks()
    change_marks(run, add=["good"], star=True)
    assert index.entries()[0].marks == Marks(("good",), "", True)
