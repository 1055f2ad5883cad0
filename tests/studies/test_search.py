"""Adaptive search: a known minimum is approached, and a search that was stopped ends as the undisturbed one."""

import pytest

from digsite.base.errors import MissingExtra, UsageError
from digsite.config.space import from_words
from digsite.record.results import Claim
from digsite.record.sweeps import Sweep
from digsite.studies import find_study
from digsite.studies.search import Goal, Search

optuna = pytest.importorskip("optuna")
WORDS = ["sleep_s=log(1e-3,10)", "steps=1,2,3", "seed=0,1"]


class Bowl:
    """Executes a sweep by computing a bowl over log sleep_s with its bottom at 0.1 and steps = 2."""

    def __init__(self):
        self.executed, self.stop_after = [], 10**9

    def __call__(self, sweep: Sweep) -> int:
        from math import log10

        from digsite.base import atomic
        from digsite.record.status import Status, write_status

        for member in sweep.members:
            if member.status().state == "finished":
                continue
            if len(self.executed) == self.stop_after:
                return 130
            self.executed.append(member.run.id)
            point = member.point
            value = (log10(point["sleep_s"]) + 1) ** 2 + (point["steps"] - 2) ** 2 + 0.01 * point["seed"]
            claim = vars(Claim("bowl", value, None, None, 1, None))
            atomic.write_json(
                member.run.results, {"schema": 1, "study": "s", "verdict": "", "claims": [claim]}
            )
            write_status(member.run.status_file, Status("finished"))
        return 0


@pytest.fixture
def search(plugin_studies):
    def make(trials=24, claim="bowl", words=WORDS):
        study = find_study("countdown", [plugin_studies])
        return Search(study, from_words(words), Goal(claim, "minimize", trials))

    return make


def values(trials):
    return [(trial.point, trial.value) for trial in trials]


def test_it_comes_closer_than_its_first_random_settings(search, tmp_path):
    code, trials = search().run(tmp_path, Bowl())
    assert code == 0 and len(trials) == 24
    assert min(t.value for t in trials[10:]) < min(t.value for t in trials[:10])
    assert all(len(trial.jobs) == 2 for trial in trials)  # both seeds of every setting
    assert "seed" not in trials[0].asked


def test_a_search_that_was_stopped_ends_as_the_undisturbed_one(search, tmp_path):
    _, whole = search().run(tmp_path / "whole", Bowl())
    torn = Bowl()
    for torn.stop_after in (3, 17, 30):
        assert search().run(tmp_path / "torn", torn)[0] == 130
    torn.stop_after = 10**9
    code, trials = search().run(tmp_path / "torn", torn)
    assert code == 0
    assert values(trials) == values(whole)
    assert len(torn.executed) == len(set(torn.executed))


def test_failed_settings_are_told_as_failed(search, tmp_path):
    from digsite.record.status import Status, write_status

    def fail(sweep):
        for member in sweep.members:
            write_status(member.run.status_file, Status("failed"))
        return 1

    code, trials = search(trials=8).run(tmp_path, fail)
    assert code == 0 and [trial.value for trial in trials] == [None] * 8


def test_what_cannot_be_searched_is_named(search, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="nothing to search"):
        search(words=["seed=0..3"])
    with pytest.raises(UsageError, match="claim no 'bowel'. Did you mean 'bowl'"):
        search(claim="bowel").run(tmp_path, Bowl())
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'digsite\[search\]'"):
        search()


@pytest.mark.slow
def test_a_real_search_on_a_local_pool(cli, plugin_studies, plugin_env, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", plugin_env["PYTHONPATH"])
    words = (
        "sweep",
        "countdown",
        "steps=1,2,3",
        "fail_at=-1,0",
        "seed=0,1",
        "--minimize",
        "total",
        "--samples",
        "6",
        "--studies",
        plugin_studies,
        "--runs",
        tmp_path / "runs",
        "--on",
        "local:2",
        "--json",
    )
    import json

    code, out, err = cli(*words)
    assert code == 0, err
    trials = json.loads(out)
    assert len(trials) == 6
    known = [t["value"] for t in trials if t["value"] is not None]
    assert known == sorted(known) and any(t["value"] is None for t in trials if t["point"]["fail_at"] == 0)
    assert cli(*words)[1] == out
