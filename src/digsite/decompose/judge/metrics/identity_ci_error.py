"""Entries of the one-feature-at-a-time importances that differ from the known solution; 0 is exact recovery."""

from typing import Literal

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.decompose.judge.score import pattern_errors
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["identity_ci_error"] = "identity_ci_error"
    tolerances: list[float] = Field(
        default=[0.1, 0.2], min_length=1, description="distance from 0 or 1 that still counts as right"
    )


def compute(settings: Settings, view: View) -> dict[str, float]:
    if not view.n_features or not view.patterns:
        raise UsageError(
            "The metric 'identity_ci_error' needs a model whose features and solution are known.",
            hint="Give the study a truth, or leave the metric out.",
        )
    row = {}
    for tolerance in settings.tolerances:
        errors = pattern_errors(view.probes, view.patterns, tolerance)
        row |= {f"target_solution_error_{tolerance:g}/{m}": float(e) for m, e in errors.items()}
        row[f"target_solution_error_{tolerance:g}/total"] = float(sum(errors.values()))
    return row
