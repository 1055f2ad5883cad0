"""A static folder of pages: whole, its links lead somewhere, and what stands there already is left alone."""

import re

import pytest

from digsite.base.errors import UsageError
from digsite.record import create_run
from digsite.report.publish import publish_runs


@pytest.fixture
def runs(tmp_path):
    launch = {"study": "s", "method": "a.b", "purpose": "Is <it> so?", "config": {"seed": 0}}
    return [create_run(tmp_path / "runs", launch) for _ in range(2)]


def test_every_link_leads_somewhere_and_nothing_becomes_markup(runs, tmp_path):
    index = publish_runs(runs, tmp_path / "out")
    page = index.read_text()
    assert page.count("Is &lt;it&gt; so?") == 2 and "<it>" not in page
    links = [link for link in re.findall(r'href="([^"]+)"', page) if link.endswith("index.html")]
    assert len(links) == 2 and all((index.parent / link).is_file() for link in links)
    assert not re.search(r'(src|href)="https?:', page)


def test_a_folder_with_something_in_it_is_left_alone(runs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not an empty folder"):
        publish_runs(runs, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_claim_without_a_title_in_an_old_run(runs, tmp_path):
    runs[0].results.write_text(
        '{"schema": 1, "study": "s", "verdict": "So.", "claims": [{"name": "a", "value": 1.0, "low": 0.5, "high": 2.0, "n": 3, "null": 0.0}]}'
    )
    index = publish_runs(runs, tmp_path / "out")
    assert "So." in index.read_text()
