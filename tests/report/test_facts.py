"""Facts about a run, read back."""

from digsite.record.layout import create_run
from digsite.report.facts import gather_facts, read_table, table_names


def test_a_table_is_read_by_windows(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "t.csv").write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(30)))
    (tmp_path / "link.csv").symlink_to(tmp_path / "sub" / "t.csv")
    assert table_names(tmp_path) == ("sub/t",)
    table = read_table(tmp_path, "sub/t", start=10, limit=5)
    assert table.columns == ("a", "b") and table.total == 30
    assert table.rows[0] == ("10", "100") and len(table.rows) == 5


def test_a_planned_run_has_few_facts(tmp_path):
    run = create_run(
        tmp_path, {"study": "s", "method": "m.x", "config": {"seed": 7, "a": {"b": 1}}, "tags": ["one", 2]}
    )
    facts = gather_facts(run)
    assert facts.state == "planned" and facts.name == f"s/{run.id}"
    assert facts.config == {"seed": 7, "a.b": 1} and facts.tags == ("one", "2")
    assert facts.claims == () and facts.seconds is None and facts.tables == ()


def test_what_was_given_is_told_and_guessed_for_older_runs(tmp_path):
    new = create_run(tmp_path, {"study": "s", "method": "a.b", "config": {"a": {"lr": 1}}, "given": ["a.lr"]})
    assert gather_facts(new).given == ("a.lr",)
    old = create_run(tmp_path, {"study": "s", "method": "a.b", "config": {"a": {"lr": 1}, "b": 2}})
    old.provenance.write_text('{"command": ["digsite", "run", "s", "lr=1"]}')
    assert gather_facts(old).given == ("a.lr",)


def test_nothing_ends_a_citation(tmp_path):
    run = create_run(
        tmp_path, {"study": "s", "method": "a.b", "config": {}, "purpose": "50 % of {} \\input a_b?"}
    )
    text = gather_facts(run).citation
    assert text.count("{") == text.count("}") == 4 and "50 \\% of  input a\\_b?" in text
