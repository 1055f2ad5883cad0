"""Find studies and build their configs; nothing here needs torch until a config is validated."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from digsite.base import atomic
from digsite.base.errors import DigsiteError, NotFound, UsageError, name_nearest
from digsite.base.stored import finite_number
from digsite.config import yamlio
from digsite.config.resolve import Layers, current_method, current_study

Size = Literal["full", "quick", "smoke", "demo"]
ROOT = Path(__file__).parent
ENTRY_POINTS = "digsite.studies"
GROWN = "study.yaml (at hand)"
_KEYS = {"method", "purpose", "minutes", "config", "quick", "smoke", "packs", "demo", "needs", "at_hand"}
_AT_HAND = {"needs", "config", "stands_on", "otherwise"}


@dataclass(frozen=True)
class AtHand:
    """What the full size of a study stands on where the data folder has it, and what it says where it has not."""

    needs: tuple[str, ...]  # files or folders of DIGSITE_DATA
    config: dict[str, Any]
    stands_on: str  # in words: "It stands on ..."
    otherwise: str  # the smaller default, in words

    def missing(self) -> str:
        """The first of `needs` that is neither in DIGSITE_DATA nor in the cache; empty where all are here."""
        from digsite.data.fetch import is_at_hand

        return next((name for name in self.needs if not is_at_hand(name)), "")

    def sentence(self) -> str:
        """On what a run of the full size stands, for its verdict."""
        if not (missing := self.missing()):
            return f"It stands on {self.stands_on}."
        return f"It stands on {self.otherwise}: '{missing}' is not in DIGSITE_DATA."


@dataclass(frozen=True)
class Study:
    """One folder: what to run, which question it answers, and smaller versions of it."""

    name: str
    room: str
    folder: Path
    method: str
    purpose: str
    minutes: float
    config: dict[str, Any]
    quick: dict[str, Any]
    smoke: dict[str, Any]
    packs: tuple[str, ...] = ()  # settings that one ensemble run can vary among its members
    needs: tuple[str, ...] = ()  # folders of DIGSITE_DATA without which the study cannot run
    demo: dict[str, Any] | None = None  # overrides for `digsite demo`, when the study is part of it
    at_hand: AtHand | None = None  # what the full size stands on, where the data folder has it

    def layers(self, size: Size, start: Layers) -> Layers:
        """`start` with the study's config, and with what its `size` overrides."""
        if size not in get_args(Size):
            raise UsageError(f"There is no size '{size}' of a study. {name_nearest(size, get_args(Size))}")
        layers = start.add(self.config, "study.yaml")
        if size == "full":
            grown = self.at_hand is not None and not self.at_hand.missing()
            return layers.add(self.at_hand.config, GROWN) if self.at_hand and grown else layers
        return layers.add(getattr(self, size) or {}, f"study.yaml ({size})")

    @property
    def origins(self) -> set[str]:
        """What the layers of a study are called: a value from one of these was set by nobody for this run."""
        return {"study.yaml", GROWN, *(f"study.yaml ({size})" for size in get_args(Size))}

    @property
    def expected(self) -> dict[str, Any]:
        """`claims` of the full study, `at_hand` of the full study on what the data folder has, and of smaller sizes
        (`quick`, `smoke`, `demo`) where these were measured.
        """
        stored = atomic.read_json(self.folder / "expected.json", default={})
        if not isinstance(stored, dict) or not isinstance(stored.get("claims", {}), dict):
            raise UsageError(f"'{self.folder / 'expected.json'}' holds no bounds by claim.")
        return stored

    def expected_of(self, size: str, *, at_hand: bool = False) -> dict[str, Any]:
        """The rules of one size, by claim. Each size has its own: held to the full study's, a quick run misses for its size.

        `at_hand`: the full size stood on what the data folder has, and not on the smaller default.
        """
        full = "at_hand" if at_hand else "claims"
        return self.expected.get(full if size == "full" else size, {})


def load_study(folder: Path) -> Study:
    """The study of a folder, every value of the kind that the rest relies on, or one sentence about the first that is not."""
    file = folder / "study.yaml"
    stored = yamlio.load_yaml(file)
    if unknown := stored.keys() - _KEYS:
        key = sorted(map(str, unknown))[0]
        raise UsageError(f"Unknown key '{key[:60]}' in '{file}'. {name_nearest(key, _KEYS)}")
    if missing := {"method", "purpose", "minutes"} - stored.keys():
        raise UsageError(f"'{file}' lacks {', '.join(sorted(missing))}.")
    for key, (accepted, what) in _KINDS.items():
        if key in stored and not accepted(stored[key]):
            raise UsageError(f"'{file}' has {stored[key]!r:.60} for '{key}', which must be {what}.")
    return Study(
        name=folder.name,
        room=current_method(stored["method"]).partition(".")[0],
        folder=folder,
        method=stored["method"],
        purpose=stored["purpose"],
        minutes=float(stored["minutes"]),
        config=stored.get("config") or {},
        quick=stored.get("quick") or {},
        smoke=stored.get("smoke") or {},
        packs=tuple(stored.get("packs") or ()),
        needs=tuple(stored.get("needs") or ()),
        demo=(stored["demo"] or {}) if "demo" in stored else None,
        at_hand=_read_at_hand(stored.get("at_hand")),
    )


def _read_at_hand(stored: dict[str, Any] | None) -> AtHand | None:
    """As study.yaml has it, whole."""
    if not stored:
        return None
    return AtHand(tuple(stored["needs"]), stored["config"], stored["stands_on"], stored["otherwise"])


def _is_at_hand(value: Any) -> bool:
    """All four keys, each of its kind."""
    if value is None:
        return True
    words = isinstance(value, dict) and value.keys() == _AT_HAND and bool(value["needs"])
    return (
        words
        and _is_words(value["needs"])
        and _is_mapping(value["config"])
        and all(isinstance(value[key], str) for key in ("stands_on", "otherwise"))
    )


def _is_mapping(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(key, str) for key in value))


def _is_words(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(word, str) for word in value))


def _is_duration(value: Any) -> bool:
    """Minutes, as study.yaml has them."""
    number = finite_number(value)
    return number is not None and number >= 0


def _is_method(value: Any) -> bool:
    """room.name, or your.package.name."""
    return isinstance(value, str) and all(part.isidentifier() for part in value.split(".")) and "." in value


_KINDS = {
    "method": (_is_method, "room.name"),
    "purpose": (lambda value: isinstance(value, str), "a question in words"),
    "minutes": (_is_duration, "a number of minutes"),
    **dict.fromkeys(("config", "quick", "smoke", "demo"), (_is_mapping, "a mapping of settings")),
    **dict.fromkeys(("packs", "needs"), (_is_words, "a list of words")),
    "at_hand": (_is_at_hand, f"a mapping of {', '.join(sorted(_AT_HAND))}"),
}


def all_studies(extra: Sequence[Path] = ()) -> dict[str, Study]:
    """Every study by name; a name in an extra folder wins, so that a user can vary a shipped one.

    A damaged study costs itself: it is left out here, and `find_study` says what is wrong with it.
    """
    return {name: study for name, study in _known(extra).items() if isinstance(study, Study)}


def damaged_studies(extra: Sequence[Path] = ()) -> dict[str, DigsiteError]:
    """Names of studies that cannot be used, and why."""
    return {name: error for name, error in _known(extra).items() if isinstance(error, DigsiteError)}


def _known(extra: Sequence[Path]) -> dict[str, Study | DigsiteError]:
    """Ours, those of entry points, those that were named; a broken one is kept as its error, so that the others
    are found.
    """
    roots = (ROOT, *map(Path, _entry_point_folders()), *extra)
    studies: dict[str, Study | DigsiteError] = {}
    for folder in (folder for root in roots for folder in _study_folders(root)):
        studies[folder.name] = _loaded(folder, _stamp(folder / "study.yaml"))
    return studies


@lru_cache(maxsize=1000)
def _loaded(folder: Path, stamp: tuple[int, int]) -> Study | DigsiteError:
    """A study, or why it is none; read once per state of its file."""
    try:
        return load_study(folder)
    except DigsiteError as error:
        return error


def _stamp(file: Path) -> tuple[int, int]:
    """A file that has not changed is not read again."""
    try:
        facts = file.stat()
    except OSError:
        return (0, 0)
    return (facts.st_mtime_ns, facts.st_size)


def _study_folders(root: Path) -> Iterator[Path]:
    """Folders with a study.yaml, at any depth; nothing is looked for below one."""
    if not root.is_dir():
        raise NotFound(f"There is no studies folder '{root}'.")
    for path, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if "study.yaml" in files:
            folders.clear()
            yield Path(path)


@cache
def _entry_point_folders() -> tuple[str, ...]:
    """Each entry point names a package whose folder holds studies."""
    return tuple(
        str(Path(point.load().__file__).parent) for point in metadata.entry_points(group=ENTRY_POINTS)
    )


def find_study(name: str, extra: Sequence[Path] = ()) -> Study:
    """One study by name; a damaged one is refused with what is wrong with it.

    `extra` are further folders of studies.
    """
    known = _known(extra)
    name = name if name in known else current_study(name)
    if name not in known:
        raise NotFound(
            f"There is no study '{name[:100]}'. {name_nearest(name, known)}", hint="List them: digsite list"
        )
    study = known[name]
    if isinstance(study, DigsiteError):
        raise study
    return study
