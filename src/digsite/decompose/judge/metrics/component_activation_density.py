"""Share of positions at which components fire: its mean over the components that fire at all, by module."""

from typing import Literal

from digsite.config import Config, Field
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["component_activation_density"] = "component_activation_density"
    threshold: float = Field(default=0.1, ge=0, lt=1, description="importance above which a component fires")


def compute(settings: Settings, view: View) -> dict[str, float]:
    row = {}
    for module, g in view.importance.items():
        density = (g > settings.threshold).float().mean(0)
        row[f"density/{module}"] = float(density[density > 0].mean()) if (density > 0).any() else 0.0
    return row
