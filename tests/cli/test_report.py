"""digsite report."""

import json

import pytest

from digsite.record.layout import RunDir


@pytest.fixture
def runs(cli, tmp_path, plugin_studies):
    root = tmp_path / "runs"
    for seed in (0, 1):
        code, _, _ = cli(
            "run",
            "countdown",
            f"seed={seed}",
            "--tag",
            f"tag{seed}",
            "--tag",
            "both",
            "--quiet",
            "--studies",
            plugin_studies,
            "--runs",
            root,
        )
        assert code == 0
    return root


def test_a_run_again(cli, runs):
    code, out, _ = cli("report", "last", "--runs", runs)
    assert code == 0 and out.strip().endswith("report.html")


def test_several_into_a_file(cli, runs, tmp_path):
    names = [path.name for path in sorted((runs / "countdown").iterdir())]
    out = tmp_path / "two.html"
    code, text, _ = cli("report", *names, "--out", out, "--runs", runs, "--json")
    assert code == 0 and json.loads(text)["report"] == str(out)
    assert "2 runs compared" in out.read_text()


def test_a_sweep_by_its_name(cli, runs, tmp_path):
    folder = runs / ".sweeps" / "mine"
    folder.mkdir(parents=True)
    rows = [
        {"run": f"countdown/{p.name}", "study": "countdown", "point": {}, "pack": None, "minutes": 1}
        for p in (runs / "countdown").iterdir()
    ]
    (folder / "plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "sweep.html"
    code, _, _ = cli("report", "mine", "--out", out, "--runs", runs)
    assert code == 0 and "2 runs compared" in out.read_text()
    (folder / "plan.jsonl").write_text("")
    code, _, err = cli("report", "mine", "--runs", runs)
    assert code == 2 and "has no runs" in err


def test_no_such_run(cli, runs):
    code, _, err = cli("report", "none", "--runs", runs)
    assert code == 3 and "There is no run 'none'" in err


def test_tags_are_pinned(runs):
    tags = sorted(RunDir(path).plan()["tags"][0] for path in (runs / "countdown").iterdir())
    assert tags == ["tag0", "tag1"]
