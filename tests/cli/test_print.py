"""Tables keep what one searches for in one piece."""

import re
import textwrap

import pytest

from digsite.cli._print import NAME_WIDTH, print_run, print_table
from digsite.record import create_run
from digsite.record.results import Claim, Results, write_results


def test_names_are_not_broken_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if standard output were a terminal
    monkeypatch.setenv("COLUMNS", "60")
    name, note = "a_name_that_is_just_short_enough"[:NAME_WIDTH], "a note that has to give way " * 3
    print_table(["claim", "note"], [[name, note], ["b", "short"]])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert name in shown and max(map(len, shown.splitlines())) <= 60
    assert " ".join(shown.split()).count("way") == 3


def answered(n: int) -> Results:
    claims = tuple(
        Claim(
            f"reader/task{i}/metric",
            0.9 - i / 50,
            0.81,
            0.95,
            120,
            0.5,
            title=f"Networks of which property {i} is read rightly from nothing but the weights",
            kind="share",
            better="higher",
            null_is="guessing",
        )
        for i in range(n)
    )
    bare = tuple(Claim(f"measured/{i}", float(i)) for i in range(40))
    said = "It can be read with 90.0 %, which is more than guessing gives, and the sentence goes on for two lines."
    return Results("s", said, (*claims, *bare), headline=tuple(c.name for c in claims[:5]), hero="f")


@pytest.mark.parametrize("n", [1, 5, 30])
def test_the_verdict_is_first_and_at_most_twelve_lines_follow_on_80_columns(tmp_path, monkeypatch, capsys, n):
    """Once about ninety lines stood before the verdict of `nwa --quick`."""
    monkeypatch.setenv("COLUMNS", "80")
    launch = {"study": "s", "method": "a.b", "purpose": "What can be read from weights? " * 5, "config": {}}
    run = create_run(tmp_path, launch)
    results = answered(n)
    write_results(run.results, results)
    run.report.write_text("")
    print_run(run)
    lines = capsys.readouterr().out.splitlines()
    verdict = textwrap.wrap(results.verdict, 80)
    assert lines[: len(verdict)] == verdict
    rest = lines[len(verdict) :]
    assert len(rest) <= 12
    assert all(len(line) <= 80 for line in rest if not line.startswith(("folder", "report")))
    assert sum("null 0.50" in line for line in rest) == min(n, 5)
    assert any("40 measurements: digsite show" in line for line in rest)


def test_everything_is_shown_on_demand(tmp_path, capsys):
    run = create_run(tmp_path, {"study": "s", "method": "a.b", "config": {}})
    write_results(run.results, answered(3))
    print_run(run, everything=True)
    out = capsys.readouterr().out
    assert "measured/39" in out and "reader/task2/metric" in out
