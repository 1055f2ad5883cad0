import base64

import pytest

from digsite.base import atomic, jsonl
from digsite.record import create_run
from digsite.record.status import Status, write_status
from digsite.report import write_report
from digsite.report.aggregated import draw_aggregated
from digsite.report.comparison import compare_facts
from digsite.report.facts import gather_facts


@pytest.fixture
def runs(tmp_path):
    made = []
    for lr in (0.001, 0.01, 0.1):
        for seed in (0, 1, 2):
            run = create_run(
                tmp_path, {"study": "s", "method": "a.b", "config": {"lr": lr, "seed": seed, "kind": "x"}}
            )
            write_status(run.status_file, Status("finished", "s", run.id))
            claim = {
                "name": "score",
                "value": lr + seed / 100,
                "low": None,
                "high": None,
                "n": 1,
                "null": 0.0,
                "unit": "",
                "note": "",
            }
            atomic.write_json(run.results, {"schema": 1, "study": "s", "verdict": "So.", "claims": [claim]})
            for step in range(5):
                jsonl.append_record(run.journal, {"step": step, "loss": lr * step + seed})
            made.append(run)
    return made


def test_claims_by_setting_and_courses_over_time(runs):
    drawn = draw_aggregated(compare_facts([gather_facts(run) for run in runs]))
    assert [figure.name for figure in drawn] == ["score by lr", "loss over time"]
    assert "9 values" in drawn[0].caption and "3 settings" in drawn[1].caption
    svg = base64.b64decode(drawn[0].uri.partition(",")[2])
    assert svg.startswith(b"<?xml") and b"<svg" in svg


def test_the_report_of_a_sweep_carries_them(runs, tmp_path):
    write_report(runs, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "All runs together" in page and "score by lr" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_settings_that_are_words_are_not_drawn(runs):
    compared = compare_facts([gather_facts(run) for run in runs[:3]])
    assert [figure.name for figure in draw_aggregated(compared)] == ["loss over time"]
