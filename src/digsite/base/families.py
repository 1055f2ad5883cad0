"""A family is a folder and a member is one file in it: found by scanning, there is no list to edit.

A family says in its `__init__.py` what a member must have, as `class Member(Protocol)`: names without a value are required,
names with a value are tags that a member may set. Who scans gets the members that keep this; a half-written one is left out
and named in one sentence, and the others work.
"""

import importlib
import pkgutil
import warnings
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from digsite.base.errors import UsageError


def names(package: str) -> list[str]:
    """Member names, without importing the members or the package."""
    return sorted(m.name for m in pkgutil.iter_modules([str(folder(package))]) if not m.name.startswith("_"))


def folder(package: str) -> Path:
    """Where a package lives; only its topmost parent is looked up, so that nothing heavy is loaded."""
    top, *parts = package.split(".")
    spec = find_spec(top)
    assert spec and spec.submodule_search_locations, f"no package {top!r}"
    return Path(spec.submodule_search_locations[0], *parts)


def scan(package: str) -> dict[str, ModuleType]:
    """Every member module of `package` (a dotted name) that keeps the family's contract, by file name."""
    members: dict[str, ModuleType] = {}
    for name in names(package):
        try:
            members[name] = scan_one(package, name)
        except UsageError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return members


def scan_one(package: str, name: str) -> ModuleType:
    """One member, without importing the others; a UsageError names the file where it is not whole."""
    path = folder(package) / f"{name}.py"
    try:
        module = importlib.import_module(f"{package}.{name}")
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError) as error:
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("digsite"):
            raise  # a package that is not installed is the user's affair, not the file's fault
        raise UsageError(f"'{path}' cannot be imported: {type(error).__name__}: {error}.") from error
    if problem := find_problem(package, module):
        raise UsageError(f"'{path}' {problem}")
    return module


def find_problem(package: str, module: ModuleType) -> str:
    """What keeps a module from being a member of the family `package`; empty for a whole member."""
    required, tags = read_contract(package)
    if missing := [name for name in required if not hasattr(module, name)]:
        return f"has no {missing[0]}, which every member of {package} has."
    own = [name for name in vars(module) if name.isupper() and not name.startswith("_")]
    known = {*required, *tags}
    for name in own:
        if name not in known and (close := get_close_matches(name, tags, n=1, cutoff=0.8)):
            return f"claims {name}, which {package} does not know. Did you mean '{close[0]}'?"
    return ""


def read_contract(package: str) -> tuple[list[str], dict[str, Any]]:
    """Names that a member of `package` must have, and tags that it may set with what they are otherwise."""
    contract = getattr(importlib.import_module(package), "Member", None)
    if contract is None:
        return [], {}
    annotated = dict(vars(contract).get("__annotations__", {}))
    tags = {name: vars(contract)[name] for name in annotated if name in vars(contract)}
    functions = [n for n, v in vars(contract).items() if callable(v) and not n.startswith("_")]
    return [*(name for name in annotated if name not in tags), *functions], tags


def read_tag(package: str, name: str, tag: str) -> Any:
    """What the member `name` says under `tag`, or what the family says for all that say nothing."""
    return getattr(scan_one(package, name), tag, read_contract(package)[1][tag])


def purpose(module: ModuleType) -> str:
    """The member's orienting sentence."""
    return (module.__doc__ or "").strip().partition("\n")[0]
