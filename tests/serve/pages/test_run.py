"""The page of a run and everything below it, on a run that the worker made."""

import json
import re

import pytest

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
    assert served.get(f"/api{address(run)}/metrics").json() == {"offset": 0, "series": {}}


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
