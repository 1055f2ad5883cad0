import pytest

from digsite.base import families
from digsite.base.errors import UsageError


def test_members_are_the_public_files_of_the_folder():
    assert {"run", "ls", "show"} <= set(families.names("digsite.cli"))
    assert not any(name.startswith("_") for name in families.names("digsite.cli"))


def test_purpose_is_the_first_line_of_the_docstring():
    assert families.purpose(families) == families.__doc__.splitlines()[0]
    assert families.scan("digsite.cli")["ls"].command.name == "ls"


FAMILY = """from typing import Any, Protocol


class Member(Protocol):
    Settings: type[Any]
    ATTACKS: bool = False

    def compute(self) -> float: ...
"""


@pytest.fixture
def family(tmp_path, monkeypatch, request):
    """A family of somebody's own with one whole member, and whatever a test adds to it."""
    name = f"clan_{abs(hash(request.node.name))}"
    home = tmp_path / name
    home.mkdir()
    (home / "__init__.py").write_text(FAMILY)
    (home / "whole.py").write_text("class Settings: ...\ndef compute(): return 1.0\nATTACKS = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name, home


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def compute(:\n", "cannot be imported: SyntaxError"),
        ("from digsite.base import nothing_there\n", "cannot be imported: ImportError"),
        ("def compute(): return 2.0\n", "has no Settings"),
        ("class Settings: ...\n", "has no compute"),
        (
            "class Settings: ...\ndef compute(): return 2.0\nATTACK = True\n",
            "claims ATTACK, which .* does not know. Did you mean 'ATTACKS'",
        ),
    ],
)
def test_a_half_written_member_is_one_sentence_and_the_others_work(family, source, sentence):
    name, home = family
    (home / "half.py").write_text(source)
    with pytest.warns(UserWarning, match=sentence):
        assert list(families.scan(name)) == ["whole"]
    with pytest.raises(UsageError, match=rf"half\.py' {sentence}"):
        families.scan_one(name, "half")


def test_a_tag_that_is_not_set_is_what_the_family_says(family):
    name, home = family
    (home / "quiet.py").write_text("class Settings: ...\ndef compute(): return 2.0\n")
    assert families.read_tag(name, "whole", "ATTACKS") is True
    assert families.read_tag(name, "quiet", "ATTACKS") is False


CONTRACTS = [
    "digsite.decompose.core.losses",
    "digsite.decompose.core.gates",
    "digsite.decompose.core.layers",
    "digsite.decompose.judge.metrics",
    "digsite.decompose.figures",
    "digsite.prune.core.scores",
    "digsite.prune.judge.nulls",
    "digsite.prune.judge.statistics",
    "digsite.track.core.measures",
    "digsite.track.core.detectors",
    "digsite.track.subjects.transitions",
    "digsite.read.core.readers",
    "digsite.graft.core.methods",
    "digsite.graft.core.saes",
]


@pytest.mark.parametrize("package", CONTRACTS)
def test_every_member_keeps_its_familys_contract(package):
    assert list(families.scan(package)) == families.names(package)
    assert families.read_contract(package)[0] or families.read_contract(package)[1]
