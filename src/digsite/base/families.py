"""A family is a folder and a member is one file in it: found by scanning, there is no list to edit."""

import importlib
import pkgutil
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


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
    """Every member module of `package` (a dotted name), by file name."""
    return {name: scan_one(package, name) for name in names(package)}


def scan_one(package: str, name: str) -> ModuleType:
    """One member, without importing the others."""
    return importlib.import_module(f"{package}.{name}")


def purpose(module: ModuleType) -> str:
    """The member's orienting sentence."""
    return (module.__doc__ or "").strip().partition("\n")[0]
