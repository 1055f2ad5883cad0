"""Components that matter at a position: the mean number with importance above a threshold, by module."""

from typing import Literal

from digsite.config import Config, Field
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["ci_l0"] = "ci_l0"
    threshold: float = Field(default=0.1, ge=0, lt=1, description="importance above which a component counts")


def compute(settings: Settings, view: View) -> dict[str, float]:
    found = {m: float((g > settings.threshold).sum(-1).float().mean()) for m, g in view.importance.items()}
    return {f"l0_{settings.threshold:g}/{m}": n for m, n in found.items()} | {
        f"l0_{settings.threshold:g}/total": sum(found.values())
    }
