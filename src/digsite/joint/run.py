"""The studies of several rooms, each from a config to a run directory."""

from collections.abc import Callable
from typing import Any

from digsite.joint.experiments.dig import dig
from digsite.joint.experiments.survival import survival

METHODS: dict[str, Callable[[Any, Any], None]] = {"survival": survival, "dig": dig}
