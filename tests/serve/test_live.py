"""Server-sent events: what a running run says, as it says it."""

import asyncio
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base import jsonl
from digsite.record.lock import hold_lock
from digsite.record.status import Status, read_status, write_status
from digsite.report.plots import thin_series
from digsite.serve import live
from digsite.serve.index import Index
from digsite.serve.live import journal_columns, list_changes, read_tail, run_changes, start_of_tail


class Visitor:
    """A request that stays for a number of looks."""

    def __init__(self, looks):
        self.looks = looks

    async def is_disconnected(self):
        self.looks -= 1
        return self.looks < 0


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(live, "EVERY_S", 0.0)


def parsed(text):
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return fields["event"], json.loads(fields["data"]), fields.get("id")


async def collect(stream, between=lambda n: None):
    events = []
    async for text in stream:
        events.append(parsed(text))
        between(len(events))
    return events


def test_a_finished_run_is_told_once_and_ends(planned):
    run = planned()
    jsonl.append_record(run.journal, {"step": 0, "loss": 1.0})
    run.log.write_text("hello\n")
    events = asyncio.run(collect(run_changes(Visitor(99), run, 0, 0)))
    assert [name for name, _, _ in events] == ["metrics", "log", "status", "end"]
    assert events[0][1] == [{"step": 0, "loss": 1.0}]
    assert events[1][1] == "hello\n"


def test_a_running_run_is_followed(planned):
    import os
    import socket

    run = planned(state="running", pid=os.getpid(), host=socket.gethostname())

    def go_on(n):
        if n == 1:
            jsonl.append_record(run.journal, {"step": 1, "loss": 0.5})
        if n == 2:
            write_status(run.status_file, Status("finished", study="study", id=run.id))

    events = asyncio.run(collect(run_changes(Visitor(99), run, 0, 0), go_on))
    assert [name for name, _, _ in events] == ["status", "metrics", "status", "end"]
    assert events[2][1]["state"] == "finished"


def test_a_beating_heart_is_no_news(planned):
    import os
    import socket

    run = planned(state="running", pid=os.getpid(), host=socket.gethostname())

    def beat(n):
        write_status(run.status_file, read_status(run.status_file).beat())

    with hold_lock(run):
        assert len(asyncio.run(collect(run_changes(Visitor(5), run, 0, 0), beat))) == 1


def test_a_stream_goes_on_where_it_was(planned):
    run = planned()
    jsonl.append_record(run.journal, {"step": 0, "loss": 1.0})
    size = run.journal.stat().st_size
    jsonl.append_record(run.journal, {"step": 1, "loss": 0.5})
    name, records, place = asyncio.run(collect(run_changes(Visitor(99), run, size, 0)))[0]
    assert name == "metrics" and [r["step"] for r in records] == [1]
    assert place == f"{run.journal.stat().st_size}-0"


def test_half_lines_wait_and_broken_ones_are_skipped(planned):
    run = planned()
    run.journal.write_text('{"step": 0}\nnonsense\n[1]\n{"step": 1')
    name, records, _ = asyncio.run(collect(run_changes(Visitor(99), run, 0, 0)))[0]
    assert records == [{"step": 0}]
    assert read_tail(run.journal, 0)[1] == len('{"step": 0}\nnonsense\n[1]\n')


def test_a_journal_that_was_cut_is_followed_from_its_new_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("a\n")
    assert read_tail(path, 100) == ("", 2)


def test_the_end_of_a_long_log_starts_at_a_line(tmp_path):
    path = tmp_path / "run.log"
    path.write_text("".join(f"line {i}\n" for i in range(1000)))
    start = start_of_tail(path, 100)
    text, end = read_tail(path, start)
    assert text.startswith("line ") and text.endswith("line 999\n") and end == path.stat().st_size
    assert start_of_tail(path, 10**6) == 0


def test_the_list_says_when_it_moved(root, planned, monkeypatch):
    from digsite.serve import index as module

    monkeypatch.setattr(module, "FRESH_S", 0.0)
    index = Index(root)
    planned("a", "one")

    def add(n):
        if n == 1:
            planned("a", "two")

    events = asyncio.run(collect(list_changes(Visitor(6), index), add))
    assert len(events) == 2
    assert events[0][1]["version"] < events[1][1]["version"]


# Measurements for charts.


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(2, 60))
def test_thinning_keeps_the_extremes_and_the_order(values, points):
    steps, kept = thin_series(list(range(len(values))), values, points)
    assert len(kept) <= max(points, 2)
    assert steps == sorted(steps)
    assert min(kept) == min(values) and max(kept) == max(values)
    assert all(values[s] == v for s, v in zip(steps, kept))


def test_short_series_stay_whole():
    assert thin_series([1, 2], [3.0, 4.0], 10) == ([1, 2], [3.0, 4.0])


def test_a_missing_or_broken_journal_is_empty(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert journal_columns(path) == {}
    path.write_text("nonsense\n")
    assert journal_columns(path) == {}


def test_a_journal_that_grew_is_read_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "a": 1.0}\n')
    assert journal_columns(path) == {"a": ([0], [1.0])}
    path.write_text('{"step": 0, "a": 1.0}\n{"step": 1, "a": 2.0, "b": 3}\n')
    assert journal_columns(path)["a"] == ([0, 1], [1.0, 2.0])
    assert np.isclose(journal_columns(path)["b"][1], 3).all()
