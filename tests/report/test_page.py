"""The report as a file: complete, self-contained, and deaf to what runs try to say in HTML."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from digsite.record.layout import RunDir, create_run
from digsite.record.results import Claim, Results, write_results
from digsite.record.status import Status, write_status
from digsite.report import render_report, write_report
from digsite.report.pictures import find_pictures

ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'"
EXTERNAL = re.compile(r"""(?:src|href|action|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", re.I)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def spoiled(tmp_path) -> RunDir:
    """A run that puts markup wherever text can go."""
    run = create_run(
        tmp_path,
        {
            "study": "bad",
            "method": ATTACK,
            "purpose": ATTACK,
            "size": "full",
            "tags": [ATTACK],
            "config": {"seed": 0, "note": ATTACK, ATTACK: 1},
        },
    )
    write_status(run.status_file, Status("finished", study="bad", id=run.id, message=ATTACK))
    claims = (Claim(ATTACK, 1.0, 0.5, 1.5, 3, 0.0, ATTACK, ATTACK),)
    write_results(run.results, Results("bad", ATTACK, claims))
    run.provenance.write_text(json.dumps({"command": [ATTACK], "git": {"commit": ATTACK}, "device": ATTACK}))
    run.error.write_text(json.dumps({"message": ATTACK, "traceback": ATTACK}))
    run.tables.mkdir()
    (run.tables / "t.csv").write_text(f'a,"{ATTACK.replace(chr(34), chr(34) * 2)}"\n<b>,2\n')
    run.figures.mkdir()
    (run.figures / "f.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{ATTACK}</svg>')
    (run.figures / "f.txt").write_text(ATTACK)
    return run


def smoke_runs(root, *seeds):
    from pathlib import Path

    from digsite.studies import find_study
    from digsite.studies.plan import plan_run, start_run
    from digsite.worker.execute import How, execute_run

    study = find_study("showcase", [Path(__file__).parents[1] / "plugin" / "studies"])
    runs = [start_run(plan_run(study, size="smoke", overrides=[f"seed={s}"]), root) for s in seeds]
    assert [execute_run(run, How(device="cpu", quiet=True)) for run in runs] == [0] * len(runs)
    return runs


def test_nothing_that_a_run_says_becomes_markup(spoiled):
    for page in (render_report([spoiled]), render_report([spoiled, spoiled])):
        tags = Tags(page).found
        assert {tag for tag, _ in tags}.isdisjoint(
            {"script", "iframe", "object", "embed", "link", "base", "form", "b>"}
        )
        assert not [a for _, attributes in tags for a in attributes if a.startswith("on")]
        assert ATTACK not in page
        assert all(a["src"].startswith("data:image/") for tag, a in tags if tag == "img")


def test_a_report_reaches_for_nothing(tmp_path):
    runs = smoke_runs(tmp_path / "runs", 0, 1)
    for page in (render_report(runs[:1]), render_report(runs)):
        assert not EXTERNAL.search(page)
        policy = next(a for tag, a in Tags(page).found if a.get("http-equiv") == "Content-Security-Policy")
        assert policy["content"].startswith("default-src 'none'")


def test_a_report_says_everything(tmp_path):
    (run,) = smoke_runs(tmp_path / "runs", 3)
    out = tmp_path / "deep" / "report.html"
    write_report([run], out)
    page = out.read_text()
    results = json.loads(run.results.read_text())
    for text in (
        "How many sparse features",
        results["verdict"].split(".")[0],
        "interference",
        "mask_columns",
        "What would change this answer",
        "What the words mean",
        "one feature per dimension",
        run.id,
        "numpy",
        "10 rows",
    ):
        assert text in page, text
    assert page.count("<figure>") + page.count('<figure class="hero">') == 2
    assert len(page) < 10_000_000


def test_a_comparison_shows_differences_before_claims(tmp_path):
    page = render_report(smoke_runs(tmp_path / "runs", 0, 1))
    assert (
        page.index("What differs in the configs") < page.index("What was found") < page.index("Shared config")
    )
    beside, together = page.split("All runs together")
    assert beside.count("<figure>") == 4 and "band from least to greatest" in together


def test_many_runs_become_rows(tmp_path):
    made = smoke_runs(tmp_path / "runs", 0)
    page = render_report(made * 9)
    assert "9 runs compared" in page and "Settings and what they gave" in page


def test_a_run_with_broken_files_still_has_a_report(spoiled):
    for path in (spoiled.results, spoiled.provenance, spoiled.error, spoiled.status_file, spoiled.launch):
        path.write_bytes(b"\xff{")
    assert "bad" in render_report([spoiled])


def test_figures_that_are_links_are_left_alone(spoiled, tmp_path):
    (tmp_path / "secret.svg").write_text("secret")
    (spoiled.figures / "link.svg").symlink_to(tmp_path / "secret.svg")
    assert [p.name for p in find_pictures(spoiled.figures)] == ["f"]


def test_runs_of_different_methods_are_answered_one_after_the_other(tmp_path):
    from digsite.record import create_run

    runs = [
        create_run(
            tmp_path,
            {"study": name, "method": f"{name}.x", "purpose": f"Is {name} so?", "config": {"seed": 1}},
        )
        for name in ("first", "second")
    ]
    page = render_report(runs)
    assert page.index("Is first so?") < page.index("Is second so?")
    assert "What differs in the configs" not in page


def test_a_report_runs_its_own_script_and_no_other(tmp_path):
    """The policy names the script by its digest: what a browser computes over the text between the tags."""
    (run,) = smoke_runs(tmp_path / "runs", 3)
    page = render_report([run])
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a for tag, a in Tags(page).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].endswith(f"script-src 'sha256-{digest}'")
    curves = [a for _, a in Tags(page).found if a.get("class") == "curve"]
    assert json.loads(curves[0]["data-points"])["x"]
    assert "<script" not in render_report([run, run])
