"""Components that no input uses are set to zero; the residual takes over what they held.

They carry next to nothing, but they point somewhere: left in, they win matches against what a component should look like.
Zero is a fixed point of the step, so they stay out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from digsite.decompose.gating import USED
from digsite.decompose.scene import observe

if TYPE_CHECKING:
    from digsite.decompose.fit import Fit

LOOKS = 4  # batches that are looked at


@torch.no_grad()
def retire(fit: Fit) -> None:
    """In place, for all members."""
    for owner, used in _used(fit).items():
        fit.updates.clear(f"{owner}/V", ~used[:, None])
        fit.updates.clear(f"{owner}/U", ~used[..., None])


def _used(fit: Fit) -> dict[str, Tensor]:
    """(K, C) by owner of parts: whether any site that shares them uses the component."""
    used: dict[str, Tensor] = {}
    for index in range(LOOKS):
        x, _ = fit.draws.batch(index)
        for site, uses in _used_in(fit, x).items():
            owner = fit.plan.owners[site]
            used[owner] = used.get(owner, torch.zeros_like(uses)) | uses
    return used


def _used_in(fit: Fit, x: Tensor) -> dict[str, Tensor]:
    scenes = [observe(fit.plan, fit.member_weights(k), fit.member(k), x[k]) for k in range(len(x))]
    return {
        site: torch.stack([s.importance.lower[site].flatten(0, -2).amax(0) > USED for s in scenes])
        for site in fit.plan.target.sites
    }
