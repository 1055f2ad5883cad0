"""From a method's name to its config and its function.

`prune.clusters` is `study_clusters(config: ClustersConfig, run)` of a file in digsite/prune/experiments. A package of the
user's may have the function in its run.py, or name it in a table METHODS there (and its settings in CONFIGS of config.py).
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import FoundStudies, find_folder
from digsite.config.model import Config
from digsite.config.resolve import current_method


def find_rooms() -> list[str]:
    """Packages of ours whose methods a study may name: those with a `config.py` and a `run.py`."""
    home = find_folder("digsite")
    rooms = (path.parent for path in home.glob("*/run.py") if (path.parent / "config.py").exists())
    return sorted(room.name for room in rooms if room.name != "cli")  # whose two files are verbs


def config_class(method: str) -> type[Config]:
    """The class of settings of `method` (`room.name` or `your.package.name`); nothing of torch's is loaded for it."""
    return _look_up(method, "config", "CONFIGS", "settings")


def find_function(method: str) -> Callable[[Any, Any], None]:
    """What `method` does: a function of its config and of the run that it writes to."""
    return _look_up(method, "run", "METHODS", "study")


def find_packed(method: str) -> Callable[[list[Any], list[Any]], None] | None:
    """The room's way to run several configs as one ensemble (`pack_NAME(configs, runs)`), if it has one."""
    package, _, name = current_method(method).rpartition(".")
    return _find_table(_import_module(method, package, "run"), "PACKED", "pack").get(name)


def is_parallel(method: str) -> bool:
    """Whether several processes may run the method together (PARALLEL of the room's run.py)."""
    package, _, name = current_method(method).rpartition(".")
    return name in getattr(_import_module(method, package, "run"), "PARALLEL", ())


def _look_up(method: str, module: str, table: str, what: str) -> Any:
    """From a table or from the text of the files."""
    package, _, name = current_method(method).rpartition(".")
    entry = _find_table(_import_module(method, package, module), table, what)
    if name not in entry:
        raise UsageError(f"'{package}' has no method '{name}'. {name_nearest(name, entry)}")
    return entry[name]


def _find_table(module: ModuleType, table: str, what: str) -> Mapping[str, Any]:
    """The table of that name in a module, or what its package's files say where there is none."""
    return getattr(module, table, None) or FoundStudies(module.__name__.rpartition(".")[0], what)


def _import_module(method: str, package: str, module: str) -> ModuleType:
    """A room of ours, or any importable package of the user's with the same two files."""
    path = f"digsite.{package}" if package in find_rooms() else package
    try:
        if path:
            return importlib.import_module(f"{path}.{module}")
    except ModuleNotFoundError as error:
        if error.name not in (path, f"{path}.{module}", path.partition(".")[0]):
            raise
    raise UsageError(
        f"'{method}' is not a method: there is no package '{package}' with a {module}.py.",
        hint=f"Write room.name with a room of {', '.join(find_rooms())}, or your.package.name.",
    )
