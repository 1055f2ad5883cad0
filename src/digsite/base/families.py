"""A family is a folder, and its members are found in the files of that folder: there is no list to edit.

A family says in its `__init__.py` what a member must have, in one of two ways:

- `class Member(Protocol)`: every public file is one member, named as the file, and has these names itself. Names without a
  value are required, names with a value are tags that a member may set.
- `class Loss(ABC): ...` and `Member = Loss`: every class of a public file that derives from it is one member, named as the
  class in snake case (`SmoothL0` is `smooth_l0`) or as its `NAME` says, so that variants of one idea share a file. What is
  abstract is required, names in capitals are tags. A file without such a class is code that members share.

Who scans gets the members that keep this; a half-written one is left out and named in one sentence, and the others work.

The studies of a room are found in the same spirit: every `study_NAME(config: Settings, run)` of its folder `experiments/`
(or of its run.py) is one, and its settings are the class of that name in the room's config.py. All of it is read from
the text of the files, so that planning a run loads no file of torch's, and starting one loads the file of that study
alone: a half-written study breaks no other.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import warnings
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from digsite.base.errors import MissingExtra, UsageError


def list_members(package: str) -> list[str]:
    """Member names, without importing the members or the package."""
    return sorted(_locate_members(package))


def find_folder(package: str) -> Path:
    """Where a package lives; only its topmost parent is looked up, so that nothing heavy is loaded."""
    top, *parts = package.split(".")
    spec = find_spec(top)
    assert spec and spec.submodule_search_locations, f"no package {top!r}"
    return Path(spec.submodule_search_locations[0], *parts)


def scan_family(package: str) -> dict[str, Any]:
    """Every member of `package` (a dotted name) that keeps the family's contract, by name: a module or a class."""
    members: dict[str, Any] = {}
    for name in list_members(package):
        try:
            members[name] = scan_member(package, name)
        except (UsageError, MissingExtra) as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return members


def scan_member(package: str, name: str) -> Any:
    """One member, without importing the files of the others; a UsageError names the file where it is not whole."""
    file, label = _locate_members(package).get(name, (name, ""))
    module = _import_file(package, file)
    member = getattr(module, label) if label else module
    if problem := find_problem(package, member):
        raise UsageError(f"'{find_folder(package) / file}.py' {problem}")
    return member


def _import_file(package: str, file: str) -> ModuleType:
    """The module, or one sentence that names the file which cannot be imported, and the package where one is missing."""
    try:
        return importlib.import_module(f"{package}.{file}")
    except Exception as error:  # a file of anybody's, which runs when it is imported
        path = find_folder(package) / f"{file}.py"
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("digsite"):
            needed = (error.name or "").split(".")[0]
            raise MissingExtra(f"'{path}' needs the package '{needed}', which is not installed.") from error
        first = str(error).strip().partition("\n")[0].rstrip(".")
        raise UsageError(f"'{path}' cannot be imported: {type(error).__name__}: {first}.") from error


def find_problem(package: str, member: Any) -> str:
    """What keeps a module or class from being a member of the family `package`; empty for a whole member."""
    required, tags = read_contract(package)
    if isinstance(member, type):
        missing = sorted(getattr(member, "__abstractmethods__", ()))
        who = f"'{member.__name__}' "
    else:
        missing, who = [name for name in required if not hasattr(member, name)], ""
    if missing:
        return f"{who}has no {missing[0]}, which every member of {package} has."
    for name in [name for name in vars(member) if name.isupper() and not name.startswith("_")]:
        if name not in {*required, *tags} and (close := get_close_matches(name, tags, n=1, cutoff=0.8)):
            return f"{who}claims {name}, which {package} does not know. Did you mean '{close[0]}'?"
    return ""


def read_contract(package: str) -> tuple[list[str], dict[str, Any]]:
    """Names that a member of `package` must have, and tags that it may set with what they are otherwise."""
    contract = getattr(importlib.import_module(package), "Member", None)
    if contract is None:
        return [], {}
    if not getattr(contract, "_is_protocol", False):
        tags = {name: getattr(contract, name) for name in dir(contract) if name.isupper() and name[0] != "_"}
        return sorted(getattr(contract, "__abstractmethods__", ())), tags
    annotated = dict(vars(contract).get("__annotations__", {}))
    tags = {name: vars(contract)[name] for name in annotated if name in vars(contract)}
    functions = [n for n, v in vars(contract).items() if callable(v) and not n.startswith("_")]
    return [*(name for name in annotated if name not in tags), *functions], tags


def read_tag(package: str, name: str, tag: str) -> Any:
    """What the member `name` says under `tag`, or what the family says for all that say nothing."""
    return getattr(scan_member(package, name), tag, read_contract(package)[1].get(tag))


def read_settings(member: Any) -> Any:
    """The settings class of a member: its `Settings`, or a class member that is a config itself."""
    return getattr(member, "Settings", member)


def read_purpose(member: Any) -> str:
    """The member's orienting sentence."""
    return (inspect.getdoc(member) or "").strip().partition("\n")[0]


def _locate_members(package: str) -> dict[str, tuple[str, str]]:
    """Member name -> its file and its class there ("" where the file itself is the member), from the text of the files."""
    home = find_folder(package)
    base = _read_base(home / "__init__.py")
    located: dict[str, tuple[str, str]] = {}
    for file in sorted(m.name for m in pkgutil.iter_modules([str(home)]) if not m.name.startswith("_")):
        path = home / f"{file}.py"
        if base is None or not path.is_file():
            located[file] = (file, "")
            continue
        classes = _list_classes(path, path.stat().st_mtime_ns, base)
        if classes is None:  # what cannot be read is named when it is asked for
            located[file] = (file, "")
            continue
        located |= {name: (file, label) for name, label in classes}
    return located


def _read_base(path: Path) -> str | None:
    """The base class that a family's `__init__.py` names with `Member = ...`; none where a file is a member."""
    return _parse_base(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=256)
def _parse_base(path: Path, changed: int) -> str | None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["Member"]:
            return ast.unparse(node.value)
    return None


@lru_cache(maxsize=1024)
def _list_classes(path: Path, changed: int, base: str) -> tuple[tuple[str, str], ...] | None:
    """Member name and class of the public classes of a file that derive from `base`, read from its text and without importing it; none where it is no Python.

    A class that derives from a member of the same file is a member too. `changed` (the file's time) ends the caching.
    """
    try:
        tree = ast.parse(path.read_text())
    except SyntaxError:
        return None
    known, public = {base}, []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and known & {ast.unparse(b).rpartition(".")[2] for b in node.bases}:
            known.add(node.name)
            public += [] if node.name.startswith("_") else [(_name_member(node), node.name)]
    return tuple(public)


def _name_member(node: ast.ClassDef) -> str:
    """What `NAME = "..."` in the class says: for members whose name is a class elsewhere; else the class in snake case."""
    for line in node.body:
        if isinstance(line, ast.Assign) and [ast.unparse(t) for t in line.targets] == ["NAME"]:
            return str(ast.literal_eval(line.value))
    return _snake_case(node.name)


def _snake_case(label: str) -> str:
    """`SmoothL0` -> `smooth_l0`; `PGDRecon` -> `pgd_recon`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", label).lower()


STUDY = re.compile(r"^def (study|pack)_(\w+)\(\s*\w+: (?:list\[)?\"?(\w+)", re.M)


class FoundStudies(Mapping[str, Any]):
    """Names of a package's studies, each with its function (`what` is "study"), with the function that runs several of
    them as one ensemble ("pack"), or with its class of settings ("settings"); looked up when a name is asked for.
    """

    def __init__(self, package: str, what: str = "study") -> None:
        self.package, self.what = package, what

    def __getitem__(self, name: str) -> Any:
        file, settings = self._locate()[name]
        if self.what == "settings":
            return getattr(importlib.import_module(f"{self.package}.config"), settings)
        folder, _, module = f"{self.package}.{file}".rpartition(".")
        return getattr(_import_file(folder, module), f"{self.what}_{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._locate())

    def __len__(self) -> int:
        return len(self._locate())

    def _locate(self) -> dict[str, tuple[str, str]]:
        home, kind = find_folder(self.package), "pack" if self.what == "pack" else "study"
        files = [*sorted(home.glob("experiments/[!_]*.py")), home / "run.py"]
        texts = {path: _list_studies(path, path.stat().st_mtime_ns) for path in files if path.is_file()}
        return {
            name: (".".join(path.relative_to(home).with_suffix("").parts), settings)
            for path, text in texts.items()
            for said, name, settings in text
            if said == kind
        }


@lru_cache(maxsize=256)
def _list_studies(path: Path, changed: int) -> tuple[tuple[str, str, str], ...]:
    """(study or pack, name, settings) of every study in a file; `changed` (the file's time) ends the caching."""
    return tuple((kind, name, settings) for kind, name, settings in STUDY.findall(path.read_text("utf-8")))
