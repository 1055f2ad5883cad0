import pytest

from digsite.base.errors import NotFound
from digsite.record import create_run, find_run, list_statuses, runs_in
from digsite.record.listing import move_to_trash

LAUNCH = {"study": "countdown", "method": "countdown.countdown", "config": {}}


@pytest.fixture
def three(tmp_path):
    for name in ("20260101-0000-aaa", "20260102-0000-bbb", "20260102-0000-bcc"):
        create_run(tmp_path, LAUNCH, run_id=name)
    (tmp_path / "countdown" / "half").mkdir()
    return tmp_path


def test_listing_skips_what_is_no_run(three):
    assert len(list(runs_in(three))) == 3
    assert len(list_statuses(three)) == 3
    assert list(runs_in(three / "none")) == []


@pytest.mark.parametrize(
    "name", ["20260101-0000-aaa", "aaa", "countdown/20260101-0000-aaa", "run:aaa", "last:", "path"]
)
def test_a_run_is_found_by_any_of_its_names(three, name):
    if name == "last:":
        assert find_run("last", three).id == "20260102-0000-bcc"
    elif name == "path":
        assert find_run(str(three / "countdown" / "20260101-0000-aaa"), three).id.endswith("aaa")
    else:
        assert find_run(name, three).id == "20260101-0000-aaa"


def test_ambiguous_and_unknown_names_are_explained(three):
    with pytest.raises(NotFound, match="'-b' fits 2 runs"):
        find_run("-b", three)
    with pytest.raises(NotFound, match="no run '20260102-0000-bbx'.*Did you mean '20260102-0000-bbb'"):
        find_run("20260102-0000-bbx", three)


def test_trash_moves_and_never_overwrites(three):
    run = find_run("aaa", three)
    first = move_to_trash(run)
    create_run(three, LAUNCH, run_id=run.id)
    second = move_to_trash(run)
    assert first.exists() and second.exists() and first != second
    assert len(list(runs_in(three))) == 2
