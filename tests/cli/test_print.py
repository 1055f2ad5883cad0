"""Tables keep what one searches for in one piece."""

import re

from digsite.cli._print import NAME_WIDTH, print_table


def test_names_are_not_broken_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if standard output were a terminal
    monkeypatch.setenv("COLUMNS", "60")
    name, note = "a_name_that_is_just_short_enough"[:NAME_WIDTH], "a note that has to give way " * 3
    print_table(["claim", "note"], [[name, note], ["b", "short"]])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert name in shown and max(map(len, shown.splitlines())) <= 60
    assert " ".join(shown.split()).count("way") == 3
