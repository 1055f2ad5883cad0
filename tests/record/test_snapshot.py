"""The code that travels with a sweep: the checkout changes after planning, and the jobs run what was planned."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from digsite.base import atomic
from digsite.record import snapshot
from digsite.record.sweeps import find_sweep

SOURCE = Path(snapshot.__file__).parents[1]
RUN = """
def count(config, run):
    run.claim("version", {version}, n=1, null=0.0)
    run.verdict("It counts.")

METHODS = {{"count": count}}
"""
CONFIG = """
from digsite.config import Config, Field

class CountConfig(Config):
    seed: int = Field(0, description="seed")

CONFIGS = {"count": CountConfig}
"""


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    """digsite and a package of the user's, in one checkout."""
    place = tmp_path / "checkout"
    shutil.copytree(
        SOURCE, place / "digsite", ignore=shutil.ignore_patterns("__pycache__", "shipped", "studies")
    )
    (place / "digsite" / "studies").mkdir()
    for file in SOURCE.joinpath("studies").glob("*.py"):
        shutil.copy(file, place / "digsite" / "studies")
    (place / "mine").mkdir()
    for name, text in {"__init__.py": "", "config.py": CONFIG, "run.py": RUN.format(version=1)}.items():
        (place / "mine" / name).write_text(text)
    (place / "list" / "count").mkdir(parents=True)
    study = {"method": "mine.count", "purpose": "Which version runs?", "minutes": 0.01}
    (place / "list" / "count" / "study.yaml").write_text(yaml.safe_dump(study))
    git(place, "init", "-q")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "all")
    return place


def digsite(checkout: Path, *words: str) -> subprocess.CompletedProcess:
    runs = ["--runs", str(checkout.parent / "runs")]
    env = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "digsite", "sweep", *words, *runs],
        cwd=checkout.parent,
        capture_output=True,
        text=True,
        env=env,
    )


def versions(checkout: Path) -> dict[str, set[float]]:
    found: dict[str, set[float]] = {}
    for member in find_sweep("s", checkout.parent / "runs").members:
        results = atomic.read_json(member.run.results, default={"measurements": [{"value": None}]})
        found.setdefault(member.status().state, set()).add(results["measurements"][0]["value"])
    return found


def test_jobs_run_the_code_of_the_plan_until_fresh_code_is_asked_for(checkout):
    plan = ("count", "seed=0,1", "--name", "s", "--studies", str(checkout / "list"))
    (checkout / "mine" / "run.py").write_text(RUN.format(version=2))  # uncommitted code travels too
    assert digsite(checkout, *plan, "--plan-only").returncode == 0
    (checkout / "mine" / "run.py").write_text(RUN.format(version="1/0"))
    (checkout / "digsite" / "worker" / "execute.py").write_text("raise SystemExit('the checkout was used')")
    done = digsite(checkout, *plan, "--on", "local:1")
    assert done.returncode == 0, done.stderr
    assert "goes on with its own copy" in done.stderr
    assert versions(checkout) == {"finished": {2.0}}
    (member, _) = find_sweep("s", checkout.parent / "runs").members
    record = atomic.read_json(member.run.provenance)["git"]
    assert len(record["commit"]) == 40 and record["diff"] == ""


def test_a_mended_failure_is_retried_with_fresh_code(checkout):
    plan = ("count", "seed=0,1", "--name", "s", "--studies", str(checkout / "list"))
    (checkout / "mine" / "run.py").write_text(RUN.format(version="1/0"))
    assert digsite(checkout, *plan).returncode == 1
    (checkout / "mine" / "run.py").write_text(RUN.format(version=3))
    assert digsite(checkout, "retry", "s", "--failed").returncode == 1
    assert versions(checkout) == {"failed": {None}}
    assert digsite(checkout, "retry", "s", "--failed", "--fresh-code").returncode == 0
    assert versions(checkout) == {"finished": {3.0}}


def test_code_that_is_installed_stays_where_it_is(tmp_path):
    assert snapshot.pin_packages(tmp_path, ["yaml", "no_such_package"])
    assert snapshot.pinned_folder(tmp_path) is None
