"""Mean importance of the most used components, by module."""

from typing import Literal

from digsite.config import Config, Field
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["ci_mean_per_component"] = "ci_mean_per_component"
    top: int = Field(default=5, gt=0, description="how many of the largest are given")


def compute(settings: Settings, view: View) -> dict[str, float]:
    row = {}
    for module, g in view.importance.items():
        means = g.mean(0).sort(descending=True).values[: settings.top]
        row |= {f"ci_mean/{module}/{i}": float(value) for i, value in enumerate(means)}
    return row
