"""What a decomposition asks of its config and target before it starts, and the parameters that it starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.core import parts
from digsite.decompose.core.gates import Draw, Shapes
from digsite.decompose.core.scene import Plan, get_factors
from digsite.decompose.core.starts import find_start, numerical_rank
from digsite.decompose.core.target import Target, Weights

LOOKS = 16  # batches that are looked at before the first step


def count_components(
    wanted: int | dict[str, int] | str, sites: list[str], matrices: dict[str, torch.Tensor] | None = None
) -> dict[str, int]:
    """Components of every site; with patterns, the first that matches counts.

    With `rank` it is the numerical rank of the site's matrices (K, d_in, d_out), the largest of the members, at least 1.
    """
    if wanted == "rank":
        return {
            site: max(1, *(numerical_rank(matrix) for matrix in matrices[site])) if matrices else 1
            for site in sites
        }
    assert not isinstance(wanted, str)
    by_pattern = {"*": wanted} if isinstance(wanted, int) else wanted
    counts = {}
    for site in sites:
        matching = [n for pattern, n in by_pattern.items() if fnmatch(site, pattern)]
        if not matching:
            raise UsageError(
                f"C says nothing about the module '{site}'.", hint="Add it, or a pattern such as '*': 100."
            )
        if matching[0] < 1:
            raise UsageError(f"C = {matching[0]} for the module '{site}': at least one component is needed.")
        counts[site] = matching[0]
    return counts


def check_problem(config: DecomposeConfig, target: Target, batch: torch.Tensor) -> None:
    """Everything that would fail or waste an hour is said before the first step."""
    count_components(config.C, list(target.sites))
    if config.recompute == "always" and config.compile == "always":
        raise UsageError(
            "recompute=always and compile=always exclude each other.", hint="Leave compile at auto."
        )
    _check_faithful(config)
    _check_losses(config, target)
    _check_gate(config, target, batch)


def _check_faithful(config: DecomposeConfig) -> None:
    """Exact sums allow parts to be mixed, and nothing that takes one away."""
    if config.faithful == "exact" and not find_start(config.init).ADDS_UP:
        raise UsageError(
            f"faithful=exact only mixes parts that add up from the start, and init={config.init} does not.",
            hint="Use init=sparse or init=singular.",
        )
    if config.faithful == "exact" and config.retire:
        raise UsageError(f"faithful=exact keeps every part, and retire={config.retire} sets some to zero.")
    if config.faithful == "exact" and config.weight_decay:
        raise UsageError(
            f"faithful=exact excludes weight_decay={config.weight_decay}: it would shrink the mixing."
        )


def check_room(config: DecomposeConfig, matrices: dict[str, torch.Tensor], counts: dict[str, int]) -> None:
    """Parts that are only mixed cannot make up a matrix of a higher rank than their number."""
    for site, n in counts.items() if config.faithful == "exact" else ():
        rank = max(numerical_rank(matrix) for matrix in matrices[site])
        if n < rank:
            raise UsageError(
                f"C = {n} for the module '{site}', whose matrix has rank {rank}: the parts cannot add up to it.",
                hint="Use C=rank, a larger C, or faithful=learned.",
            )


def _check_losses(config: DecomposeConfig, target: Target) -> None:
    """Each loss has a coefficient, and what it asks of the target is there."""
    if not config.losses:
        raise UsageError("The config has no loss.", hint=f"Kinds: {', '.join(LOSSES)}.")
    for name, loss in config.losses.items():
        if loss.coeff == 0:
            raise UsageError(
                f"The loss '{name}' has coefficient 0: it would be computed and thrown away.",
                hint=f"Remove it: ~losses.{name}",
            )
        if loss.ATTACKS and config.recompute == "always":
            raise UsageError(f"The loss '{name}' ({loss.kind}) cannot be combined with recompute=always.")
        if loss.ONE_MODULE and len(target.sites) != 1:
            raise UsageError(
                f"The loss '{name}' needs exactly one decomposed module, and there are {len(target.sites)}."
            )


def _check_gate(config: DecomposeConfig, target: Target, batch: Any) -> None:
    """Some gates read a vector at each place, which an embedding of ids does not have."""
    if not config.gate.NEEDS_INPUTS:
        return
    for site in target.sites.values():
        if not site.layer.READS_VECTORS:
            kind = site.layer.__name__.lower()
            raise UsageError(
                f"The gate '{config.gate.kind}' reads vectors, and '{site.name}' ({kind}) is not given any.",
                hint="Use gate.kind=mlp or linear for this module.",
            )


# --- the first parameters of a member, from its matrices and from what its sites read on the first batches -----


@dataclass(frozen=True)
class Given:
    """What a member starts from: settings, the shapes of its sites, its target's weights, and batch i of its data."""

    config: DecomposeConfig
    shapes: Shapes
    plan: Plan
    weights: Weights | None
    batch: Callable[[int], Any]

    def draw_first(self) -> list[Any]:
        """The first batches."""
        return [self.batch(i) for i in range(LOOKS)]


def make_first_params(given: Given, matrices: dict[str, Tensor], draw: Draw) -> dict[str, Tensor]:
    """Parts, gates and an adversary's sources of one member; `matrices` (d_in, d_out) by site are its own."""
    config, plan = given.config, given.plan
    reads = {site: make_reader(given, site) for site in plan.target.sites}
    exact = config.faithful == "exact"
    made = parts.start_parts(given.shapes, matrices, plan.owners, config.init, draw, reads, exact=exact)
    gates = config.gate.draw_params(given.shapes, draw)
    if config.gate.ASKS_FOR_SIZES:
        config.gate.calibrate(gates, measure_sizes(made, plan, reads))
    made |= {f"gate/{key}": value for key, value in gates.items()}
    return made | draw_sources(given, draw)


@torch.no_grad()
def measure_output_variance(given: Given) -> float:
    """Variance of the target's output around its mean, summed over entries, on the first batches."""
    outputs = [given.plan.target(given.weights, x).flatten(0, -2) for x in given.draw_first()]
    return max(float(torch.cat(outputs).var(0).sum()), 1e-12)


def make_reader(given: Given, name: str) -> parts.Reads:
    """Inner activations of any columns at the positions of the first batches; what is read is looked at when asked."""
    seen: list[Any] = []
    site = given.plan.target.sites[name]

    def record(_: Any, x: Any) -> Any:
        seen.append(x)
        return site.answer_itself(x)

    @torch.no_grad()
    def read(v: Tensor) -> Tensor:
        if not seen:
            for x in given.draw_first():
                given.plan.target(given.weights, x, {name: record})
        device = site.module.weight.device
        return torch.cat([site.read_inner(x, v.to(device)).flatten(0, -2).cpu() for x in seen])  # pyright: ignore[reportArgumentType, reportCallIssue]

    return read


def measure_sizes(made: dict[str, Tensor], plan: Plan, reads: dict[str, parts.Reads]) -> dict[str, Tensor]:
    """Root mean square of each part's activation, and of what it adds to the output: (2, C) by site."""
    sizes = {}
    for site in plan.target.sites:
        v, u = get_factors(made, plan.owners, site)
        activation = reads[site](v).square().mean(0).sqrt()
        sizes[site] = torch.stack([activation, activation * u.norm(dim=1).cpu()])
    return sizes


def draw_sources(given: Given, draw: Draw) -> dict[str, Tensor]:
    """An adversary's first masks, uniform through the error function: streams give normal numbers."""
    counts = {site: shape.n + given.config.delta for site, shape in given.shapes.items()}
    made = {}
    for name, loss in given.config.losses.items():
        for site, shape in loss.list_sources(counts).items():
            normal = draw(f"source/{name}/{site}", *shape)
            made[f"source/{name}/{site}"] = 0.5 + 0.5 * torch.erf(normal / 2**0.5)  # uniform in [0, 1]
    return made
