"""Error at each replaced module's own output, as a share of that output's mean square, masks on all modules at once."""

from typing import Any, Literal

import torch

from digsite.config import Config, Field
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["hidden_recon"] = "hidden_recon"
    maskings: list[str] = Field(
        default=["ci", "stochastic"], min_length=1, description="how the components are masked"
    )
    threshold: float = Field(default=0.1, ge=0, lt=1, description="importance above which rounding gives one")


@torch.no_grad()
def compute(settings: Settings, view: View) -> dict[str, float]:
    row: dict[str, float] = {}
    for i, batch in enumerate(view.batches()):
        scene = view.found.scene(batch)
        for masking in settings.maskings:
            drawn = view.found.draw(scene, masking, settings.threshold, torch.Generator().manual_seed(i))
            caught: dict[str, Any] = {}
            scene.forward(drawn, caught)
            for module, wanted in scene.outputs.items():
                share = (caught[module] - wanted).square().mean() / wanted.square().mean().clamp_min(1e-30)
                key = f"hidden_recon/{masking}/{module}"
                row[key] = row.get(key, 0.0) + float(share) / view.n_batches
    return row
