"""Components that fire at least once on the evaluation batches, by module."""

from typing import Literal

from digsite.config import Config, Field
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["alive_components"] = "alive_components"
    threshold: float = Field(default=0.1, ge=0, lt=1, description="importance above which a component fires")


def compute(settings: Settings, view: View) -> dict[str, float]:
    return {
        f"n_alive_{settings.threshold:g}/{m}": float((g > settings.threshold).any(0).sum())
        for m, g in view.importance.items()
    }
