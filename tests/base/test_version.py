"""The version: read from what is installed, made by the build from tags, written in no file."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import digsite
from digsite.base.settings import read_version

ROOT = Path(__file__).parents[2]


def test_the_version_is_that_of_the_installed_package():
    assert digsite.__version__ == read_version() == metadata.version("digsite")


def test_a_source_tree_on_a_path_has_a_version_that_says_so(monkeypatch):
    def find_none(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", find_none)
    assert read_version() == "0+unknown"


def test_without_tags_the_build_counts_from_the_last_release_of_the_changelog():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["version"]
    released = re.search(r"^## (\d+\.\d+\.\d+) ", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released and settings["fallback-version"] == released[1]
    assert re.match(settings["tag-pattern"], "v1.20.3") and not re.match(settings["tag-pattern"], "main-1.2")


def test_no_file_names_the_version():
    named = [p for p in (ROOT / "src").rglob("*.py") if re.search(r"^__version__ = ", p.read_text(), re.M)]
    assert not named
