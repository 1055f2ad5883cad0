"""From what the modules read to causal importances: lower (for masks) and upper (for the sparsity loss)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from digsite.base.families import scan_family
from digsite.config import Config
from digsite.decompose.core import sigmoids

GATES = scan_family("digsite.decompose.core.gates")
USED = 0.1  # a component counts as used where its importance is above this
Draw = Callable[..., Tensor]  # draw(name, *shape): standard normal numbers from a named stream


@dataclass(frozen=True)
class Shape:
    """One site: its matrix is (d_in, d_out) and it has n components."""

    d_in: int
    d_out: int
    n: int


Shapes = dict[str, Shape]


@dataclass(frozen=True)
class Importance:
    """Causal importances of every component at every position, by site."""

    lower: dict[str, Tensor]
    upper: dict[str, Tensor]


def needs_inputs(settings: Config) -> bool:
    return GATES[settings.kind].NEEDS_INPUTS  # type: ignore[attr-defined]


def init(settings: Config, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    return GATES[settings.kind].init(settings, shapes, draw)  # type: ignore[attr-defined]


def asks_for_sizes(settings: Config) -> bool:
    """Whether this kind of gate starts from how large the activations are."""
    return hasattr(GATES[settings.kind], "calibrate")


def calibrate(settings: Config, params: dict[str, Tensor], sizes: dict[str, Tensor]) -> None:
    """Let a gate that asks for it see how large the activations are, in place; `sizes` (2, C) by site."""
    if change := getattr(GATES[settings.kind], "calibrate", None):
        change(settings, params, sizes)


def logits(
    settings: Config, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    return GATES[settings.kind].logits(settings, params, inner, inputs)  # type: ignore[attr-defined]


def importance(found: dict[str, Tensor], sigmoid: str, jitter: dict[str, Tensor] | None = None) -> Importance:
    """Squash the logits; `jitter` (uniform numbers) spreads them a little, as binomial masks need."""
    if jitter:
        found = {site: 1.05 * value - 0.05 * jitter[site] for site, value in found.items()}
    lower, upper = sigmoids.pair(sigmoid)
    return Importance(
        {site: lower(value) for site, value in found.items()},
        {site: upper(value) for site, value in found.items()},
    )
