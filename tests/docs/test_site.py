"""The documentation builds without the network, and no link in it leads nowhere."""

import importlib.util
import json
import re
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def build(monkeypatch):
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    return module


def test_the_site_builds_offline_and_every_link_leads_somewhere(build, tmp_path, monkeypatch):
    monkeypatch.setattr(
        build, "PACKAGES", ("digsite", "digsite.figures")
    )  # the rooms import for half a minute
    pages = build.build_site(tmp_path)
    assert len(pages) > 20
    for page in pages:
        file = tmp_path / page
        for link in re.findall(r'(?:href|src)="([^":#]+)(?:#[^"]*)?"', file.read_text()):
            assert (file.parent / link).exists(), f"{page} links to {link}"
    reference = (tmp_path / "api.html").read_text()
    assert "open_run" in reference and "heatmap" in reference
    found = json.loads((tmp_path / "search-pages.js").read_text().removeprefix("window.pages = "))
    assert {entry["path"] for entry in found} == set(pages)
    assert (
        "stories260K" in (tmp_path / "notebooks" / "a-story-model.html").read_text()
    )  # with what its cells printed
