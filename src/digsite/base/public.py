"""The public names of a package, written once: imported when asked for, listed by `dir`, completed by TAB.

A package's `__init__.py` names them in one `if TYPE_CHECKING:` block, which editors and type checkers read as it is.
The same block is read here, so that no second list can disagree with it and nothing heavy is imported with the package.
"""

import ast
import importlib
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import isfunction, isgeneratorfunction, signature, unwrap
from pathlib import Path
from types import ModuleType
from typing import Any

from digsite.base.contract import public_method, refuse_unknown

Exports = tuple[list[str], Callable[[], list[str]], Callable[[str], Any]]


def lazy_names(package: str, file: str) -> Exports:
    """`__all__`, `__dir__` and `__getattr__` of the package `package` whose `__init__.py` is `file`.

    A name is looked up in the module that the block imports it from; a module of the package itself may be named too.
    """
    homes = read_names(Path(file).read_text(encoding="utf-8"))

    def list_names() -> list[str]:
        return sorted(homes)

    def find_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if homes[name] == package:
            return import_module(f"{package}.{name}")
        value = getattr(import_module(homes[name]), name)
        marked = (
            hasattr(value, "__public_method__") or not isfunction(value) or isgeneratorfunction(unwrap(value))
        )
        return (
            value if marked else public_method()(value)
        )  # whoever forgot the mark is held to the rule all the same

    return list_names(), list_names, find_name


def read_names(source: str) -> dict[str, str]:
    """Public name -> module it comes from, as the source's `if TYPE_CHECKING:` blocks say."""
    blocks = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name: node.module or ""
        for node in imports
        for alias in node.names
        if not alias.name.startswith("_")
    }


# A room that can be called: `digsite.prune(model, data)` beside `digsite.prune.prune_matrix`.


class CallableRoom(ModuleType):
    """A package whose call is one of its functions, imported when it is called."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        module, _, name = self.__dict__["_called"].partition(":")
        function = getattr(importlib.import_module(module), name)
        refuse_unknown(name, signature(function).parameters, named)
        return function(*args, **named)


def make_callable(package: str, called: str) -> None:
    """Let `package` be called as `called`, written `module:function`; nothing is imported before."""
    room = sys.modules[package]
    room.__class__ = CallableRoom
    room.__dict__["_called"] = called
