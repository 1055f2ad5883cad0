"""Every study that is found: its smoke runs for real, its README and expectations are in order."""

import json
import re
from pathlib import Path

import pytest

from digsite.base.errors import NotFound, UsageError
from digsite.config import yamlio
from digsite.record import read_results
from digsite.record.results import find_misses
from digsite.record.verdict import NAMES
from digsite.report.pictures import find_pictures
from digsite.studies import all_studies, find_study
from digsite.studies.plan import plan_run, start_run
from digsite.worker.execute import How, execute_run
from digsite.worker.run import shown_columns

STUDIES = all_studies()
ASKED = yamlio.load_yaml(
    Path(__file__).parent / "questions.yaml"
)  # each question beside words of its verdict


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_every_size_of_a_study_is_a_valid_config(name):
    study = STUDIES[name]
    for size in ("full", "quick", "smoke", "demo"):
        assert plan_run(study, size=size).config is not None


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_a_study_says_what_it_is(name):
    study = STUDIES[name]
    assert study.purpose.strip() and study.minutes > 0
    assert len((study.folder / "README.md").read_text()) > 100
    for rules in study.expected.values():
        for claim, rule in rules.items():
            assert rule["source"], claim


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_a_study_expects_at_least_two_values(name):
    """Once 21 of 51 expected nothing, and `--check` said so to nobody."""
    assert sum(map(len, STUDIES[name].expected.values())) >= 2


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_question_and_verdict_lie_side_by_side(name):
    """Whoever changes a question looks at its verdict again; `test_smoke` looks for the words."""
    assert ASKED[name]["question"] == STUDIES[name].purpose.strip()
    assert ASKED[name]["said"]


def test_no_two_studies_of_one_method_share_a_verdict():
    """`graft-surgery`, `graft-injection` and `graft-all` once answered three questions with one sentence."""
    graft = [ASKED[name]["said"] for name in ("graft-surgery", "graft-injection", "graft-all", "graft-quick")]
    assert len({tuple(words) for words in graft}) == 4


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_smoke(name, smoke, request, monkeypatch):
    if STUDIES[name].needs:
        monkeypatch.setenv("DIGSITE_DATA", str(request.getfixturevalue("data_dir")))
    run = smoke(name)
    results = read_results(run.results)
    assert results and results.claims and results.verdict.strip()
    check_answer(name, results)
    check_views(json.loads(run.views.read_text()) if run.views.exists() else [])
    assert results.hero in {picture.name for picture in find_pictures(run.figures)}, (
        "no figure shows the answer"
    )
    assert find_misses(results, {"claims": STUDIES[name].expected.get("smoke", {})}) == []


def check_answer(name, results):
    """Every claim has its null, interval and title; every number of the verdict is one of them; it says what was asked."""
    assert 1 <= len(results.headline) <= 5
    for claim in results.claims:
        if not claim.is_measurement:
            assert claim.low <= claim.high and claim.null_is, claim.name
    for claim in results.leading:
        assert len(claim.title) > 10 and (claim.title != claim.name or " " in claim.name), claim.name
    assert len({claim.title for claim in results.leading}) == len(results.leading), (
        "two lines would read alike"
    )
    known = {claim.name for claim in results.claims}
    assert all(cited.claim in known for cited in results.cited)
    if any(letter.isdigit() for letter in NAMES.sub("", results.verdict)):
        assert results.cited
    for word in ASKED[name]["said"]:
        assert re.search(word, results.verdict, re.I), f"{results.verdict!r} does not speak of {word!r}"


def check_views(views):
    """All studies of `track.transition` once drew three measures from one table that was overwritten."""
    shown = [shown_columns(view) for view in views]
    assert len(set(shown)) == len(shown)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(STUDIES))
def test_quick(name, tmp_path, request, monkeypatch):
    """`nwa-small-cnn --quick` once died after its zoo was trained, and no test ran it."""
    if STUDIES[name].needs:
        monkeypatch.setenv("DIGSITE_DATA", str(request.getfixturevalue("data_dir")))
    run = start_run(plan_run(STUDIES[name], size="quick"), tmp_path / "runs")
    assert execute_run(run, How(device="cpu", quiet=True)) == 0, run.error.read_text()
    results = read_results(run.results)
    assert results
    check_answer(name, results)
    assert find_misses(results, {"claims": STUDIES[name].expected.get("quick", {})}) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_says_little_and_all_of_it_beside_a_null(tmp_path):
    """Once 143 numbers, one in five of them with a null and an interval; the dig at its end answers seven questions."""
    shown = [name for name, study in sorted(STUDIES.items()) if study.demo is not None and name != "dig"]
    runs = [start_run(plan_run(STUDIES[name], size="demo"), tmp_path / name) for name in shown]
    assert [execute_run(run, How(device="cpu", quiet=True)) for run in runs] == [0] * 5
    results = [found for found in (read_results(run.results) for run in runs) if found is not None]
    assert sum(not claim.is_measurement for one in results for claim in one.claims) <= 25
    assert all(claim.null is not None for one in results for claim in one.leading)


def test_an_extra_folder_and_a_mistyped_name(plugin_studies, tmp_path):
    assert find_study("countdown", [plugin_studies]).purpose == "Do the numbers add up?"
    with pytest.raises(NotFound, match="Did you mean 'countdown'"):
        find_study("cuntdown", [plugin_studies])
    with pytest.raises(NotFound, match="no studies folder"):
        find_study("x", [tmp_path / "none"])


def test_a_study_with_a_wrong_key_is_named(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.yaml").write_text("method: a.b\npurpose: x\nminutes: 1\nconfg: {}\n")
    with pytest.raises(UsageError, match="Unknown key 'confg'.*Did you mean 'config'"):
        find_study("s", [tmp_path])


@pytest.mark.parametrize(
    "given", ["{needs: [a]}", "[a]", "{needs: [], config: {}, stands_on: a, otherwise: b}"]
)
def test_half_of_what_a_study_stands_on_is_named(tmp_path, given):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.yaml").write_text(f"method: a.b\npurpose: x\nminutes: 1\nat_hand: {given}\n")
    with pytest.raises(UsageError, match="for 'at_hand', which must be a mapping of config, needs"):
        find_study("s", [tmp_path])


def test_the_full_size_has_other_expectations_where_it_stands_on_more():
    study = find_study("prune-quality")
    assert study.expected_of("full", at_hand=True) == study.expected.get("at_hand", {})
    assert study.expected_of("quick", at_hand=True) == study.expected["quick"]
