import pytest

from digsite.base.errors import UsageError
from digsite.launch.work import Options, cut_chunks, launch_sweep, work_left
from digsite.record.status import Status, write_status
from digsite.studies import sweep as planner


@pytest.fixture
def make_sweep(plugin_studies, tmp_path):
    def make(*words, study="countdown", root=tmp_path / "runs"):
        spaces = planner.spaces_from_words([study], words, samples=1, seed=0)
        return planner.write_sweep(planner.plan_jobs(spaces, extra=[plugin_studies]), root)

    return make


def test_packs_hold_runs_that_differ_in_packable_settings_only(make_sweep):
    pieces = work_left(make_sweep("seed=0..3", "steps=2,3"))
    assert sorted(len(piece.paths) for piece in pieces) == [4, 4]
    assert all(piece.packed for piece in pieces)


def test_finished_and_running_work_is_left_alone(make_sweep):
    sweep = make_sweep("seed=0..1", "steps=2,3")
    for member in sweep.members:
        if member.point["steps"] == 2:
            write_status(member.run.status_file, Status("finished"))
    (piece,) = work_left(sweep)
    assert len(piece.paths) == 2
    assert work_left(sweep, only_failed=True) == []


def test_planning_twice_changes_nothing(make_sweep):
    first = make_sweep("seed=0..3")
    before = {p: p.stat().st_mtime_ns for m in first.members for p in m.run.path.iterdir()}
    second = make_sweep("seed=0..3")
    assert second.name == first.name
    assert before == {p: p.stat().st_mtime_ns for m in second.members for p in m.run.path.iterdir()}


def test_chunks_keep_order_and_everything(make_sweep):
    pieces = work_left(make_sweep("seed=0", "steps=1..7"))
    assert [p for chunk in cut_chunks(pieces, 3) for p in chunk] == pieces


def test_an_unknown_launcher_is_named(make_sweep):
    with pytest.raises(UsageError, match=r"no launcher 'slrum'.*Did you mean 'slurm'|Accepted"):
        launch_sweep(make_sweep("seed=0"), "slrum", Options())
