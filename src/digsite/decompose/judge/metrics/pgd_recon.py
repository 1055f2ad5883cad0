"""Reconstruction under the worst masks that sign ascent finds: how much a decomposition hides from random masks."""

from typing import Literal

import torch

from digsite.config import Config, Field
from digsite.decompose.core.losses import adversarial
from digsite.decompose.core.masks import Layout
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["pgd_recon"] = "pgd_recon"
    steps: int = Field(default=20, gt=0, description="ascent steps")
    step_size: float = Field(default=0.1, gt=0, description="change of each mask source per step")
    shared: bool = Field(
        default=True, description="one set of sources for the whole batch, or one per position"
    )


def compute(settings: Settings, view: View) -> dict[str, float]:
    attack = adversarial.Settings(steps=settings.steps, step_size=settings.step_size, shared=settings.shared)
    total = 0.0
    for i, batch in enumerate(view.batches()):
        scene = view.found.scene(batch)
        found = scene.importance.lower
        layout = Layout(
            {m: tuple(g.shape[:-1]) for m, g in found.items()},
            {m: g.shape[-1] for m, g in found.items()},
            view.found.plan.delta,
        )
        generator = torch.Generator().manual_seed(i)
        noise = {
            key: torch.rand(shape, generator=generator).to(batch.device)
            for key, shape in adversarial.noise(attack, layout).items()
        }
        total += float(adversarial.compute(attack, scene, noise).detach()) / view.n_batches
    return {"recon/pgd": total}
