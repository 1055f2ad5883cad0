"""The studies of this room by name: every `study_NAME(config, run)` of a file in `experiments/`, found by scanning."""

from collections.abc import Callable
from inspect import getmembers, isfunction
from typing import Any

from digsite.base import families

METHODS: dict[str, Callable[[Any, Any], None]] = {
    name.removeprefix("study_"): study
    for module in families.scan_family("digsite.prune.experiments").values()
    for name, study in getmembers(module, isfunction)
    if name.startswith("study_") and study.__module__ == module.__name__
}
