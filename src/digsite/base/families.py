"""A family is a folder and a member is one file in it: found by scanning, there is no list to edit."""

import importlib
import pkgutil
from types import ModuleType


def names(package: str) -> list[str]:
    """Member names without importing them."""
    root = importlib.import_module(package)
    return sorted(m.name for m in pkgutil.iter_modules(root.__path__) if not m.name.startswith("_"))


def scan(package: str) -> dict[str, ModuleType]:
    """Every member module of `package` (a dotted name), by file name."""
    return {name: importlib.import_module(f"{package}.{name}") for name in names(package)}


def purpose(module: ModuleType) -> str:
    """The member's orienting sentence."""
    return (module.__doc__ or "").strip().partition("\n")[0]
