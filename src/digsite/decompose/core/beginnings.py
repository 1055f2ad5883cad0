"""The first parameters of a member, from its matrices and from what its sites read on the first batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.core import gating, parts
from digsite.decompose.core.gating import Draw, Shapes
from digsite.decompose.core.scene import Plan
from digsite.decompose.core.target import Weights

LOOKS = 16  # batches that are looked at


@dataclass(frozen=True)
class Given:
    """What a member starts from: settings, the shapes of its sites, its target's weights, and batch i of its data."""

    config: DecomposeConfig
    shapes: Shapes
    plan: Plan
    weights: Weights | None
    batch: Callable[[int], Any]

    def look(self) -> list[Any]:
        """The first batches."""
        return [self.batch(i) for i in range(LOOKS)]


def first_params(given: Given, matrices: dict[str, Tensor], draw: Draw) -> dict[str, Tensor]:
    """Parts, gates and an adversary's sources of one member; `matrices` (d_in, d_out) by site are its own."""
    config, plan = given.config, given.plan
    reads = {site: _reader(given, site) for site in plan.target.sites}
    exact = config.faithful == "exact"
    made = parts.init(given.shapes, matrices, plan.owners, config.init, draw, reads, exact=exact)
    gates = gating.init(config.gate, given.shapes, draw)
    if gating.asks_for_sizes(config.gate):
        gating.calibrate(config.gate, gates, _sizes(made, plan, reads))
    made |= {f"gate/{key}": value for key, value in gates.items()}
    return made | _sources(given, draw)


@torch.no_grad()
def output_variance(given: Given) -> float:
    """Variance of the target's output around its mean, summed over entries, on the first batches."""
    found = [given.plan.target(given.weights, x).flatten(0, -2) for x in given.look()]
    return max(float(torch.cat(found).var(0).sum()), 1e-12)


def _reader(given: Given, name: str) -> parts.Reads:
    """Inner activations of any columns at the positions of the first batches; what is read is looked at when asked."""
    seen: list[Any] = []
    site = given.plan.target.sites[name]

    def record(_: Any, x: Any) -> Any:
        seen.append(x)
        return site.original(x)

    @torch.no_grad()
    def read(v: Tensor) -> Tensor:
        if not seen:
            for x in given.look():
                given.plan.target(given.weights, x, {name: record})
        device = site.module.weight.device
        return torch.cat([site.read(x, v.to(device)).flatten(0, -2).cpu() for x in seen])  # pyright: ignore[reportArgumentType, reportCallIssue]

    return read


def _sizes(made: dict[str, Tensor], plan: Plan, reads: dict[str, parts.Reads]) -> dict[str, Tensor]:
    """Root mean square of each part's activation, and of what it adds to the output: (2, C) by site."""
    found = {}
    for site in plan.target.sites:
        v, u = parts.factors(made, plan.owners, site)
        activation = reads[site](v).square().mean(0).sqrt()
        found[site] = torch.stack([activation, activation * u.norm(dim=1).cpu()])
    return found


def _sources(given: Given, draw: Draw) -> dict[str, Tensor]:
    counts = {site: shape.n + given.config.delta for site, shape in given.shapes.items()}
    made = {}
    for name, loss in given.config.losses.items():
        if asked := getattr(LOSSES[loss.kind], "sources", None):
            for site, shape in asked(loss, counts).items():
                normal = draw(f"source/{name}/{site}", *shape)
                made[f"source/{name}/{site}"] = 0.5 + 0.5 * torch.erf(normal / 2**0.5)  # uniform in [0, 1]
    return made
