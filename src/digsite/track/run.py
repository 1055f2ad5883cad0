"""The room's studies, each from a config to a run directory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from digsite.track.runs.as_published import as_published
from digsite.track.runs.grid import grid_study
from digsite.track.runs.mechanisms import mechanisms
from digsite.track.runs.report import report
from digsite.track.runs.transition import transition

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "as_published": as_published,
    "grid": grid_study,
    "transition": transition,
    "mechanisms": mechanisms,
    "report": report,
}
