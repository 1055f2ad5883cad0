"""What a package offers is found by `dir`, by completion and by help, and costs nothing before it is used."""

import importlib
import subprocess
import sys

import pytest

from digsite.base import public

PACKAGES = (
    "digsite",
    *(f"digsite.{p}" for p in ["data", "decompose", "graft", "models", "prune", "read", "track", "zoo"]),
)


@pytest.mark.parametrize("name", PACKAGES)
def test_dir_shows_exactly_the_public_names_and_each_can_be_had(name):
    package = importlib.import_module(name)
    assert dir(package) == sorted(package.__all__)
    assert all(getattr(package, public_name) is not None for public_name in package.__all__)


def test_an_unknown_name_is_answered_like_python_does():
    import digsite

    with pytest.raises(AttributeError, match="module 'digsite' has no attribute 'rum'"):
        getattr(digsite, "rum")  # noqa: B009


def test_names_are_listed_where_an_extra_is_missing(tmp_path, monkeypatch):
    """Listing imports nothing, so that a missing package does not show before its name is used."""
    (tmp_path / "lonely.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from digsite.base.public import lazy_names\n"
        "if TYPE_CHECKING:\n    from nowhere import thing as thing\n"
        "__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    lonely = importlib.import_module("lonely")
    assert dir(lonely) == ["thing"]
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        getattr(lonely, "thing")  # noqa: B009


def test_listing_costs_no_torch():
    code = (
        "import sys, digsite, digsite.decompose as d; dir(digsite), dir(d); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_block_is_read_as_it_stands():
    source = "if TYPE_CHECKING:\n    from a.b import one as one, two\n    from c import _hidden\nif other:\n    from d import e\n"
    assert public.read_names(source) == {"one": "a.b", "two": "a.b"}
