import pytest

from digsite.base import families
from digsite.base.errors import MissingExtra, UsageError


def test_members_are_the_public_files_of_the_folder():
    assert {"run", "runs", "studies"} <= set(families.list_members("digsite.cli"))
    assert not any(name.startswith("_") for name in families.list_members("digsite.cli"))


def test_purpose_is_the_first_line_of_the_docstring():
    assert families.read_purpose(families) == families.__doc__.splitlines()[0]
    assert families.scan_family("digsite.cli")["runs"].ls_command.name == "ls"


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
        assert list(families.scan_family(name)) == ["whole"]
    with pytest.raises(UsageError, match=rf"half\.py' {sentence}"):
        families.scan_member(name, "half")


def test_a_tag_that_is_not_set_is_what_the_family_says(family):
    name, home = family
    (home / "quiet.py").write_text("class Settings: ...\ndef compute(): return 2.0\n")
    assert families.read_tag(name, "whole", "ATTACKS") is True
    assert families.read_tag(name, "quiet", "ATTACKS") is False


CLAN = """from abc import ABC, abstractmethod


class Loss(ABC):
    ATTACKS = False

    @abstractmethod
    def compute(self): ...


Member = Loss
"""
VARIANTS = """from {home} import Loss


class SmoothL0(Loss):
    'Counts softly.'

    ATTACKS = True

    def compute(self): return 1.0


class Frequency(SmoothL0): ...


class _Shared(Loss): ...
"""


@pytest.fixture
def clan(tmp_path, monkeypatch, request):
    """A family of classes: two members share one file, beside a file that only holds what members share."""
    name = f"clan_of_classes_{abs(hash(request.node.name))}"
    home = tmp_path / name
    home.mkdir()
    (home / "__init__.py").write_text(CLAN)
    (home / "counts.py").write_text(VARIANTS.format(home=name))
    (home / "sums.py").write_text("def add(a, b): return a + b\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name, home


def test_variants_of_one_idea_share_a_file(clan):
    name, _ = clan
    assert families.list_members(name) == ["frequency", "smooth_l0"]
    assert families.scan_family(name)["smooth_l0"]().compute() == 1.0
    assert families.read_purpose(families.scan_member(name, "smooth_l0")) == "Counts softly."
    assert families.read_tag(name, "frequency", "ATTACKS") is True


def test_a_class_that_is_dropped_in_is_a_member_at_once(clan):
    name, home = clan
    (home / "mine.py").write_text(
        f"from {name} import Loss\nclass Mine(Loss):\n    def compute(self): return 2.0\n"
    )
    assert "mine" in families.list_members(name)
    assert families.read_tag(name, "mine", "ATTACKS") is False


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("    pass\n", "'Half' has no compute"),
        (
            "    ATTACK = True\n    def compute(self): return 2.0\n",
            "'Half' claims ATTACK, .* Did you mean 'ATTACKS'",
        ),
        ("    def compute(:\n", "cannot be imported: SyntaxError"),
    ],
)
def test_a_half_written_class_is_one_sentence_and_the_others_work(clan, body, sentence):
    name, home = clan
    (home / "half.py").write_text(f"from {name} import Loss\n\n\nclass Half(Loss):\n{body}")
    with pytest.warns(UserWarning, match=sentence):
        assert list(families.scan_family(name)) == ["frequency", "smooth_l0"]


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
    "digsite.read.core.readers",
    "digsite.graft.core.methods",
    "digsite.graft.core.saes",
]


@pytest.mark.parametrize("package", CONTRACTS)
def test_every_member_keeps_its_familys_contract(package):
    assert list(families.scan_family(package)) == families.list_members(package)
    assert families.read_contract(package)[0] or families.read_contract(package)[1]


def test_a_class_may_say_under_which_name_it_is_a_member(family):
    name, home = family
    (home / "__init__.py").write_text("class Loss:\n    pass\n\n\nMember = Loss\n")
    (home / "whole.py").write_text(f"from {name} import Loss\n\n\nclass Second(Loss):\n    NAME = 'first'\n")
    assert (
        families.list_members(name) == ["first"] and families.scan_family(name)["first"].__name__ == "Second"
    )


def test_a_study_is_found_by_its_name_and_a_broken_one_breaks_no_other(tmp_path, monkeypatch):
    """Listing loads nothing; a study's own file alone is loaded when it is asked for."""
    home = tmp_path / "quarry"
    (home / "experiments").mkdir(parents=True)
    (home / "config.py").write_text("class SiftConfig: ...\n")
    (home / "experiments" / "sift.py").write_text(
        "def study_sift(config: 'SiftConfig', run): return 'sifted'\n".replace("'SiftConfig'", '"SiftConfig"')
        + "def pack_sift(configs: list[int], runs): return 'packed'\n"
    )
    (home / "experiments" / "broken.py").write_text(
        "import nothing_at_all_here\ndef study_broken(c: X, run): ...\n"
    )
    (home / "run.py").write_text("def study_wash(config: SiftConfig, run): return 'washed'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    studies = families.FoundStudies("quarry")
    assert sorted(studies) == ["broken", "sift", "wash"]
    assert studies["sift"](None, None) == "sifted"
    assert families.FoundStudies("quarry", "pack")["sift"]([], []) == "packed"
    assert list(families.FoundStudies("quarry", "pack")) == ["sift"]
    assert families.FoundStudies("quarry", "settings")["sift"].__name__ == "SiftConfig"
    with pytest.raises(
        MissingExtra, match="broken.py' needs the package 'nothing_at_all_here', which is not"
    ):
        studies["broken"]


def test_a_member_whose_package_is_not_installed_leaves_the_others_alone(family):
    name, home = family
    (home / "needy.py").write_text(
        "import nothing_at_all_here\nclass Settings: ...\ndef compute(): return 1.0\n"
    )
    with pytest.warns(
        UserWarning, match="needy.py' needs the package 'nothing_at_all_here', which is not installed"
    ):
        assert list(families.scan_family(name)) == ["whole"]
