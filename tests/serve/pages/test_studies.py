"""The page of what could be run."""

import pytest
from starlette.testclient import TestClient

from digsite.serve import build_app

STUDY = {
    "study": "countdown",
    "room": "plugin",
    "question": "Does it count <down>?",
    "minutes": 1.0,
    "sizes": ["full"],
    "readme": "# About\n\nIt *counts*, <script>alert(1)</script> and [a link](javascript:alert(1)).\n\n| a | b |\n| --- | --- |\n| 1 | 2 |",
    "settings": [{"key": "steps", "type": "whole number", "value": 3, "range": "> 0", "text": "how far"}],
    "command": "digsite run countdown",
}


@pytest.fixture
def told(root):
    with TestClient(
        build_app(root, list_studies=lambda name: [STUDY] if name in ("", "countdown") else []),
        base_url="http://localhost",
    ) as client:
        yield client


def test_studies_with_their_commands_and_settings(told):
    page = told.get("/studies").text
    assert "Does it count &lt;down&gt;?" in page and "digsite run countdown" in page
    page = told.get("/studies/countdown").text
    assert "how far" in page and "&gt; 0" in page
    assert "<em>counts</em>" in page and "<td>1</td>" in page  # what is written about it is set as a page
    assert "<script>alert" not in page and 'href="javascript' not in page
    assert told.get("/studies/none").status_code == 404


def test_a_server_that_was_told_of_none_has_no_such_page(served):
    assert served.get("/studies").status_code == 404
    assert "/studies" not in served.get("/").text
