"""The room's studies, each from a config to a run directory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from digsite.track.experiments.as_published import as_published
from digsite.track.experiments.audit import audit
from digsite.track.experiments.coefficient import coefficient
from digsite.track.experiments.formation import formation
from digsite.track.experiments.grid import grid_study
from digsite.track.experiments.mechanisms import mechanisms
from digsite.track.experiments.report import report
from digsite.track.experiments.sample_losses import sample_losses
from digsite.track.experiments.transition import transition
from digsite.track.experiments.warning import warning

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "as_published": as_published,
    "grid": grid_study,
    "transition": transition,
    "mechanisms": mechanisms,
    "report": report,
    "audit": audit,
    "coefficient": coefficient,
    "formation": formation,
    "warning": warning,
    "sample_losses": sample_losses,
}
