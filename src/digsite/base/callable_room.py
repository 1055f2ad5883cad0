"""A room that can be called: `digsite.prune(model, data)` beside `digsite.prune.prune_matrix`."""

import importlib
import sys
from types import ModuleType
from typing import Any


class CallableRoom(ModuleType):
    """A package whose call is one of its functions, imported when it is called."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        module, _, name = self.__dict__["_called"].partition(":")
        return getattr(importlib.import_module(module), name)(*args, **named)


def make_callable(package: str, called: str) -> None:
    """Let `package` be called as `called`, written `module:function`; nothing is imported before."""
    room = sys.modules[package]
    room.__class__ = CallableRoom
    room.__dict__["_called"] = called
