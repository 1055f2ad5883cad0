"""What visitors may change, and that nobody may without being allowed."""

import re

import pytest
from starlette.testclient import TestClient

from digsite.record.listing import move_to_trash
from digsite.record.marks import read_marks
from digsite.serve import build_app


@pytest.fixture
def writing(root):
    with TestClient(build_app(root, may_write=True), base_url="http://localhost") as client:
        yield client


def token_of(client, path):
    return re.search(r'name="form" value="([^"]+)"', client.get(path).text)[1]


def test_nobody_writes_where_it_was_not_allowed(planned, served, address):
    run = planned()
    assert served.post(f"{address(run)}/marks", data={"add": "x"}).status_code == 405
    assert "digsite tag" in served.get(address(run)).text


def test_tags_notes_and_stars_without_scripts(planned, writing, address):
    run = planned()
    form = {"form": token_of(writing, address(run)), "add": "good, again", "note": "<b>bold</b>", "star": "1"}
    answer = writing.post(f"{address(run)}/marks", data=form)
    assert answer.status_code == 200 and read_marks(run).tags == ("good", "again") and read_marks(run).star
    page = writing.get(address(run)).text
    assert "&lt;b&gt;bold&lt;/b&gt;" in page and "<b>bold</b>" not in page  # a note with markup is text
    assert "again" in writing.get("/?tag=again").text


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"form": "stolen"}, 403, "Only pages of this server"),
        ({"add": "x" * 10_000}, 400, "A tag has at most 60 characters"),
        ({"note": "x" * 5_000}, 400, "A note has at most 4,000 characters"),
        ({"note": "x" * 60_000}, 413, "A form has at most"),
    ],
)
def test_what_is_refused_is_one_sentence(planned, writing, address, change, status, sentence):
    run = planned()
    form = {"form": token_of(writing, address(run)), "add": "good", **change}
    answer = writing.post(f"{address(run)}/marks", data=form)
    assert answer.status_code == status and sentence in answer.text
    assert read_marks(run).tags == ()


def test_a_run_comes_back_from_the_trash(planned, writing, address):
    run = planned()
    move_to_trash(run)
    form = {"form": token_of(writing, "/trash"), "run": run.id}
    assert writing.post("/trash", data=form).status_code == 200
    assert writing.get(address(run)).status_code == 200
    assert "The trash is empty" in writing.get("/trash").text
