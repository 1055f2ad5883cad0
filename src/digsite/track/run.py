"""The room's studies, each from a config to a run directory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from digsite.track.experiments.as_published import run_as_published
from digsite.track.experiments.audit import run_series_audit
from digsite.track.experiments.coefficient import run_coefficient
from digsite.track.experiments.formation import run_formation
from digsite.track.experiments.grid import grid_study
from digsite.track.experiments.mechanisms import run_mechanisms
from digsite.track.experiments.report import run_report
from digsite.track.experiments.sample_losses import run_sample_losses
from digsite.track.experiments.transition import run_transition
from digsite.track.experiments.warning import run_warning

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "as_published": run_as_published,
    "grid": grid_study,
    "transition": run_transition,
    "mechanisms": run_mechanisms,
    "report": run_report,
    "audit": run_series_audit,
    "coefficient": run_coefficient,
    "formation": run_formation,
    "warning": run_warning,
    "sample_losses": run_sample_losses,
}
