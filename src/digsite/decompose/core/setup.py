"""What a decomposition asks of its config and target before it starts."""

from fnmatch import fnmatch
from typing import Any

import torch

from digsite.base.errors import UsageError
from digsite.base.families import scan_member
from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.core import gating, starts
from digsite.decompose.core.losses import loss_tag
from digsite.decompose.core.starts.singular import numerical_rank
from digsite.decompose.core.target import Target


def component_counts(
    wanted: int | dict[str, int] | str, sites: list[str], matrices: dict[str, torch.Tensor] | None = None
) -> dict[str, int]:
    """Components of every site; with patterns, the first that matches counts.

    With `rank` it is the numerical rank of the site's matrices (K, d_in, d_out), the largest of the members, at least 1.
    """
    if wanted == "rank":
        return {
            site: max(1, *(numerical_rank(one) for one in matrices[site])) if matrices else 1
            for site in sites
        }
    assert not isinstance(wanted, str)
    by_pattern = {"*": wanted} if isinstance(wanted, int) else wanted
    counts = {}
    for site in sites:
        found = [n for pattern, n in by_pattern.items() if fnmatch(site, pattern)]
        if not found:
            raise UsageError(
                f"C says nothing about the module '{site}'.", hint="Add it, or a pattern such as '*': 100."
            )
        if found[0] < 1:
            raise UsageError(f"C = {found[0]} for the module '{site}': at least one component is needed.")
        counts[site] = found[0]
    return counts


def check(config: DecomposeConfig, target: Target, batch: torch.Tensor) -> None:
    component_counts(config.C, list(target.sites))
    if config.recompute == "always" and config.compile == "always":
        raise UsageError(
            "recompute=always and compile=always exclude each other.", hint="Leave compile at auto."
        )
    _check_faithful(config)
    _check_losses(config, target)
    _check_gate(config, target, batch)


def _check_faithful(config: DecomposeConfig) -> None:
    if config.faithful == "exact" and not scan_member(starts.PACKAGE, config.init).ADDS_UP:
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
        rank = max(numerical_rank(one) for one in matrices[site])
        if n < rank:
            raise UsageError(
                f"C = {n} for the module '{site}', whose matrix has rank {rank}: the parts cannot add up to it.",
                hint="Use C=rank, a larger C, or faithful=learned.",
            )


def _check_losses(config: DecomposeConfig, target: Target) -> None:
    if not config.losses:
        raise UsageError("The config has no loss.", hint=f"Kinds: {', '.join(LOSSES)}.")
    for name, loss in config.losses.items():
        if loss.coeff == 0:
            raise UsageError(
                f"The loss '{name}' has coefficient 0: it would be computed and thrown away.",
                hint=f"Remove it: ~losses.{name}",
            )
        if loss_tag(loss.kind, "ATTACKS") and config.recompute == "always":
            raise UsageError(f"The loss '{name}' ({loss.kind}) cannot be combined with recompute=always.")
        if loss_tag(loss.kind, "ONE_MODULE") and len(target.sites) != 1:
            raise UsageError(
                f"The loss '{name}' needs exactly one decomposed module, and there are {len(target.sites)}."
            )


def _check_gate(config: DecomposeConfig, target: Target, batch: Any) -> None:
    if not gating.needs_inputs(config.gate):
        return
    for site in target.sites.values():
        if site.layer.__name__.endswith(("embedding", "conv2d")):
            kind = site.layer.__name__.rpartition(".")[2]
            raise UsageError(
                f"The gate '{config.gate.kind}' reads vectors, and '{site.name}' ({kind}) is not given any.",
                hint="Use gate.kind=mlp or linear for this module.",
            )
