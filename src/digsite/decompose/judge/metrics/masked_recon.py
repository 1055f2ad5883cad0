"""Distance to the target's output under each masking: importances, rounded, stochastic, random, none and all off."""

from typing import Literal

import torch

from digsite.config import Config, Field
from digsite.decompose.core.decomposition import MASKINGS
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["masked_recon"] = "masked_recon"
    threshold: float = Field(default=0.1, ge=0, lt=1, description="importance above which rounding gives one")
    modules: list[str] = Field(
        default=[], description="replace these modules only; none given means all of them"
    )


@torch.no_grad()
def compute(settings: Settings, view: View) -> dict[str, float]:
    totals = dict.fromkeys(MASKINGS, 0.0)
    for i, batch in enumerate(view.batches()):
        scene = view.found.scene(batch)
        for masking in MASKINGS:
            drawn = view.found.draw(scene, masking, settings.threshold, torch.Generator().manual_seed(i))
            chosen = drawn.restrict(settings.modules) if settings.modules else drawn
            totals[masking] += float(scene.distance(scene.forward(chosen))) / view.n_batches
    return {f"recon/{masking}": total for masking, total in totals.items()}
