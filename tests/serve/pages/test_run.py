"""The page of a run and everything below it, on a run that the worker made."""

import html
import io
import json
import re
import shlex
import zipfile

import pytest

from digsite.record.shown import list_files
from digsite.report.page import LOOK
from digsite.serve.site import HERE


def test_the_page_works_without_scripts(client, run, address):
    page = client.get(address(run)).text
    results = json.loads(run.results.read_text())
    for text in (
        results["verdict"].split(".")[0],
        "How many sparse features",
        "mask_columns",
        "interference",
        "files/figures/overlap.svg",
        "tables/overlaps",
        "step 0: loss",
        "views/mask",
    ):
        assert text in page, text


def test_every_link_on_every_page_leads_somewhere(client, run, address):
    import re

    seen, todo = set(), ["/", "/sweeps", "/zoo", address(run)]
    while todo:
        path = todo.pop()
        if path in seen or len(seen) > 150:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html") and not path.endswith("/report"):
            found = re.findall(r'(?:href|src)="(/[^"#]*|\?[^"#]*)', answer.text)
            here = path.partition("?")[0]
            todo += [(here + link if link.startswith("?") else link).replace("&amp;", "&") for link in found]
    assert len(seen) > 30


def test_the_api_is_the_command_line(client, cli, run, made, address):
    code, out, _ = cli("show", run.id, "--json", "--runs", made)
    assert code == 0
    assert client.get(f"/api{address(run)}").json() == json.loads(out)


def test_metrics_by_columns_and_the_place_to_go_on(client, run, address):
    answer = client.get(f"/api{address(run)}/metrics").json()
    assert answer["offset"] == run.journal.stat().st_size
    assert set(answer["series"]) == {"loss", "norm/largest", "norm/smallest"}
    assert answer["series"]["loss"]["step"] == [0, 5, 10, 15, 20, 25, 30, 35]
    thin = client.get(f"/api{address(run)}/metrics?points=4").json()["series"]["loss"]
    assert len(thin["step"]) == 4
    assert client.get(f"/api{address(run)}/metrics?points=x").status_code == 200


def test_the_event_stream_of_a_finished_run_ends(client, run, address):
    text = client.get(f"/api{address(run)}/events?from=0-0").text
    assert text.count("event: metrics") == 1 and text.endswith('event: end\ndata: {"state": "finished"}\n\n')
    size = run.journal.stat().st_size
    again = client.get(f"/api{address(run)}/events", headers={"last-event-id": f"{size}-0"}).text
    assert "event: metrics" not in again


def test_tables_are_paged(client, run, address):
    page = client.get(f"{address(run)}/tables/loss_band").text
    assert "rows 1 to 40 of 40" in page and "<th" in page
    later = client.get(f"{address(run)}/tables/loss_band?start=30").text
    assert "rows 31 to 40 of 40" in later and "Previous" in later
    assert client.get(f"{address(run)}/tables/none").status_code == 404


def test_the_report_is_the_file_that_was_written(client, run, address):
    answer = client.get(f"{address(run)}/report")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.text == run.report.read_text()


def test_files_come_as_they_are(client, run, address):
    base = f"{address(run)}/files"
    assert client.get(f"{base}/figures/loss.png").content == (run.figures / "loss.png").read_bytes()
    assert client.get(f"{base}/metrics.jsonl").text == run.journal.read_text()
    weights = client.get(f"{base}/artifacts/weights.safetensors")
    assert weights.headers["content-disposition"].startswith("attachment")


def test_a_planned_run_has_a_page(served, planned, address):
    run = planned(state="planned")
    assert "planned" in served.get(address(run)).text
    assert served.get(f"/api{address(run)}/metrics").json() == {
        "offset": 0,
        "series": {},
        "clock": {"step": [], "time": []},
    }


# Scripts and styles: all from here, none from elsewhere.

ASSETS = sorted(p for p in (HERE / "assets").rglob("*") if p.is_file())
OURS = [p for p in ASSETS if "vendor" not in p.parts and p.suffix in (".js", ".css")] + [LOOK]
ALLOWED = ("http://www.w3.org/2000/svg",)


@pytest.mark.parametrize("path", ASSETS, ids=lambda p: p.name)
def test_every_asset_is_served_with_its_type(served, path):
    answer = served.get(f"/assets/{path.relative_to(HERE / 'assets').as_posix()}")
    assert answer.status_code == 200
    expected = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}.get(
        path.suffix, "text/plain"
    )
    assert answer.headers["content-type"].startswith(expected)


@pytest.mark.parametrize("path", [*OURS, *sorted((HERE / "templates").glob("*.html"))], ids=lambda p: p.name)
def test_no_address_of_another_host(path):
    found = [a for a in re.findall(r"https?://[^\s\"'`)]+", path.read_text()) if a not in ALLOWED]
    assert not found


@pytest.mark.parametrize("path", [p for p in OURS if p.suffix == ".js"], ids=lambda p: p.name)
def test_scripts_never_write_markup(path):
    text = path.read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in text, word


def test_the_vendored_library_has_its_license(served):
    assert "MIT" in (HERE / "assets" / "vendor" / "uPlot.LICENSE").read_text()


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "vendor", "none.js", "look.css/..", ""])
def test_nothing_but_assets(served, path):
    assert served.get(f"/assets/{path}").status_code == 404


# Again with other settings, kin, and all files at once.


def test_the_command_follows_the_changed_settings(client, run, address):
    plain = client.get(f"{address(run)}/again").text
    assert "Change settings below" in plain and 'name="set:lr"' in plain
    same = run.plan()["config"][
        "hidden"
    ]  # the four runs differ in it, and which of them this is depends on their ids
    changed = client.get(f"{address(run)}/again?set:lr=0.5&set:hidden={same}").text
    assert "1 setting changed: lr" in changed
    assert "lr=0.5" in changed.partition("data-copy=")[2][:300]


def test_what_is_typed_into_the_form_is_one_word_of_the_shell(client, run, address):
    text = client.get(f"{address(run)}/again", params={"set:label": "a; rm -rf ~ `x` $(y)\n'z'"}).text
    command = html.unescape(text.partition('data-copy="')[2].partition('"')[0])
    assert shlex.split(command)[-1] == "label=a; rm -rf ~ `x` $(y) 'z'"


def test_all_files_come_as_one_archive(client, run, address, tmp_path):
    answer = client.get(f"{address(run)}/files.zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert f"{run.id}/launch.yaml" in names and not any("/." in name for name in names)
        for path in list_files(run.path):
            assert archive.read(f"{run.id}/{path.relative_to(run.path).as_posix()}") == path.read_bytes()


def test_a_link_is_not_taken_along(served, copied, address, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (copied.path / "tables" / "link.csv").symlink_to(tmp_path / "secret")
    content = served.get(f"{address(copied)}/files.zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert f"{copied.id}/tables/link.csv" not in archive.namelist()


def test_parents_and_children_are_named(served, planned, address):
    parent = planned("first")
    child = planned("second", config={"seed": 0, "model": f"run:{parent.id}#model"})
    planned("third", config={"seed": 1})
    assert f"second/{child.id}" in served.get(address(parent)).text.partition("used by")[2]
    assert f"first/{parent.id}" in served.get(address(child)).text.partition("made from")[2]


def test_what_was_set_by_hand_is_marked(served, planned, address):
    run = planned(config={"seed": 3, "steps": 9}, launch={"given": ["seed"]})
    page = served.get(address(run)).text
    assert page.count('class="given"') == 1 and "set by hand for this run" in page
    assert "digsite run study seed=3" in page  # without a command line: what was set


def test_figures_follow_the_color_scheme_and_files_stay_as_they_are(client, run, address):
    plain = client.get(f"{address(run)}/files/figures/loss.svg")
    themed = client.get(f"{address(run)}/files/figures/loss.svg?page=1")
    assert plain.content == (run.figures / "loss.svg").read_bytes()
    assert b"prefers-color-scheme" in themed.content and b"prefers-color-scheme" not in plain.content


def test_a_run_can_be_cited(client, run, address):
    page = client.get(address(run)).text
    assert f"@misc{{digsite-showcase-{run.id}," in page and "How many sparse features" in page


def test_the_clock_gives_seconds_for_steps(client, run, address):
    clock = client.get(f"/api{address(run)}/metrics?points=100").json()["clock"]
    assert clock["step"] == sorted(set(clock["step"])) and clock["time"][0] == 0
    assert len(clock["step"]) == len(clock["time"]) > 1
