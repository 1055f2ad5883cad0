"""What masked embeddings lose of the embedding: error as a share of the vectors' variance."""

from typing import Literal

import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["embedding_recon"] = "embedding_recon"
    threshold: float = Field(default=0.1, ge=0, lt=1, description="importance above which rounding gives one")


@torch.no_grad()
def compute(settings: Settings, view: View) -> dict[str, float]:
    sites = view.found.plan.target.sites
    embeddings = [name for name, site in sites.items() if isinstance(site.module, nn.Embedding)]
    if not embeddings:
        raise UsageError("The metric 'embedding_recon' needs a decomposed embedding.")
    row: dict[str, float] = {}
    for i, batch in enumerate(view.batches()):
        scene = view.found.scene(batch)
        for masking in ("ci", "rounded", "stochastic"):
            drawn = view.found.draw(scene, masking, settings.threshold, torch.Generator().manual_seed(i))
            for name in embeddings:
                built = (scene.inner[name] * drawn.parts[name]) @ scene.factors[name][1]
                if drawn.residual is not None:
                    left = sites[name].read(scene.inputs[name], scene.residuals[name])
                    built = built + left * drawn.residual[name]
                wanted = scene.outputs[name].flatten(0, -2)
                spread = (wanted - wanted.mean(0)).square().mean().clamp_min(1e-30)
                key = f"embedding_recon/{masking}/{name}"
                error = (built.flatten(0, -2) - wanted).square().mean() / spread
                row[key] = row.get(key, 0.0) + float(error) / view.n_batches
    return row
