"""Every study that is found: its smoke runs for real, its README and expectations are in order."""

import pytest

from digsite.base.errors import NotFound, UsageError
from digsite.record import read_results
from digsite.studies import all_studies, find_study
from digsite.studies.plan import plan

STUDIES = all_studies()


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_every_size_of_a_study_is_a_valid_config(name):
    study = STUDIES[name]
    for size in ("full", "quick", "smoke", "demo"):
        assert plan(study, size=size).config is not None


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_a_study_says_what_it_is(name):
    study = STUDIES[name]
    assert study.purpose.strip() and study.minutes > 0
    assert len((study.folder / "README.md").read_text()) > 100
    for claim, rule in study.expected.get("claims", {}).items():
        assert rule["source"], claim


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_smoke(name, smoke, request, monkeypatch):
    if STUDIES[name].needs:
        monkeypatch.setenv("DIGSITE_DATA", str(request.getfixturevalue("data_dir")))
    run = smoke(name)
    results = read_results(run.results)
    assert results and results.claims and results.verdict.strip()
    assert any(claim.null is not None or claim.note for claim in results.claims), "no claim without its null"


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
