"""Scripts and styles: all from here, none from elsewhere."""

import re

import pytest

from digsite.report.page import LOOK
from digsite.serve.site import HERE

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
