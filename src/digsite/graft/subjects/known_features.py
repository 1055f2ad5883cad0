"""Activations whose features are known: what a dictionary should find, written down before anything is trained.

A world has more features than dimensions (superposition), each with a direction, a rate and a mean strength. Which of
them are on together is drawn: independently, in correlated groups, or in a hierarchy in which a child is on only where its
parent is. Real activations have all three, and each breaks a sparse autoencoder in its own way: correlated features get
merged, parents get absorbed into their children (after SynthSAEBench, arXiv 2602.14687).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed


class Structure(NamedTuple):
    """What ties the features of a group: a common cause, or a parent without which none is on. And what is read: the
    activations of one model, of two side by side that share most features, or what goes into a map and what comes out."""

    causes: bool = False
    parents: bool = False
    models: int = 1
    maps: bool = False


KINDS = {
    "independent": Structure(),
    "correlated": Structure(causes=True),
    "hierarchical": Structure(parents=True),
    "two_models": Structure(models=2),
    "map": Structure(maps=True),
}
BOTH, FIRST, SECOND = 0, 1, 2  # who knows a feature


@dataclass(frozen=True)
class FeatureWorld:
    """`directions` are unit rows; `rates` how often a feature is on; `groups` which features share a common cause;
    `parents` names each feature's parent, -1 for none. With two models a row is both models' unit directions side by
    side, zeros where one does not know the feature, and `owners` says who does. In a map `directions` are what each
    feature writes, zeros where it writes nothing, and `read` those of the inputs."""

    kind: str
    directions: Float[Tensor, "features width"]
    rates: Float[Tensor, "features"]
    strengths: Float[Tensor, "features"]
    groups: Int[Tensor, "features"]
    parents: Int[Tensor, "features"]
    correlation: float
    noise: float
    owners: Int[Tensor, "features"]
    read: Float[Tensor, "features width"] | None = None

    @property
    def models(self) -> int:
        """How many models' activations lie side by side."""
        return KINDS[self.kind].models

    @property
    def written(self) -> Bool[Tensor, "features"]:
        """Features that can be found in what is rebuilt; those that a map does not use cannot."""
        return self.directions.norm(dim=1) > 0

    @property
    def n_features(self) -> int:
        """How many true features there are."""
        return len(self.directions)


def draw_world(
    kind: str = "independent",
    n_features: int = 64,
    width: int = 32,
    *,
    mean_on: float = 4.0,
    correlation: float = 0.6,
    group: int = 4,
    noise: float = 0.02,
    seed: int = 0,
) -> FeatureWorld:
    """A world of `n_features` in `width` dimensions, of which `mean_on` are on at a time (in a hierarchy fewer: a child
    needs its parent). Rates fall as a power law, as those of words do; `group` features share a cause or a parent."""
    if kind not in KINDS:
        raise UsageError(f"There is no world '{kind}'; accepted are {', '.join(KINDS)}.")
    if n_features < group or width < 2:
        raise UsageError(f"A world of {n_features} features in {width} dimensions holds no group of {group}.")
    draw = torch.Generator().manual_seed(derive_seed(seed, f"graft/world/{kind}"))
    directions = torch.randn(n_features, KINDS[kind].models * width, generator=draw)
    rates = 1.0 / (torch.arange(n_features) + 3.0) ** 0.7
    rates = (rates * mean_on / rates.sum()).clamp(max=0.5)[torch.randperm(n_features, generator=draw)]
    groups = torch.arange(n_features) // group
    parents = torch.full((n_features,), -1)
    if KINDS[kind].parents:
        parents = torch.where(torch.arange(n_features) % group == 0, -1, groups * group)
        # A parent is on at least as often as all its children together would need it.
        rates[parents < 0] = rates[parents < 0].clamp(min=0.1)
    owners, read, directions = _place_features(kind, directions, draw)
    return FeatureWorld(
        kind,
        directions,
        rates,
        0.75 + 0.5 * torch.rand(n_features, generator=draw),
        groups,
        parents,
        correlation if KINDS[kind].causes else 0.0,
        noise,
        owners,
        read,
    )


def _place_features(
    kind: str, directions: Float[Tensor, "features width"], draw: torch.Generator
) -> tuple[Int[Tensor, "features"], Float[Tensor, "features read"] | None, Float[Tensor, "features width"]]:
    """Who knows each feature, its direction in the inputs of a map, and its direction where it is to be found."""
    n, models = len(directions), KINDS[kind].models
    owners = torch.arange(n) % 8 if models > 1 else torch.zeros(n, dtype=torch.long)
    owners = torch.where(owners > SECOND, BOTH, owners)  # an eighth of all features is each model's own
    each = directions.unflatten(1, (models, -1))
    each = each / each.norm(dim=2, keepdim=True)
    for model, other in enumerate((SECOND, FIRST)[:models]):
        each[owners == other, model] = 0.0
    if not KINDS[kind].maps:
        return owners, None, each.flatten(1)
    # The same features in a basis of their own at the other end; a quarter of them is read by nothing.
    written = torch.randn(each.flatten(1).shape, generator=draw)
    written = written / written.norm(dim=1, keepdim=True) * (torch.arange(n) % 4 > 0)[:, None]
    return owners, each.flatten(1), written


def draw_codes(world: FeatureWorld, n: int, seed: int = 0) -> Float[Tensor, "n features"]:
    """How strongly every feature is on in each of `n` samples; 0 where it is off."""
    draw = torch.Generator().manual_seed(derive_seed(seed, "graft/world-codes"))
    own = torch.randn(n, world.n_features, generator=draw)
    if world.correlation:  # a common cause per group, so that the chance of each alone stays its rate
        causes = torch.randn(n, int(world.groups.max()) + 1, generator=draw)[:, world.groups]
        own = world.correlation**0.5 * causes + (1 - world.correlation) ** 0.5 * own
    child, above = world.parents >= 0, world.parents.clamp(min=0)
    # A child, given its parent: so often that its rate comes out, at most half of the time.
    chance = torch.where(child, (world.rates / world.rates[above]).clamp(max=0.5), world.rates)
    on = own > torch.special.ndtri(1 - chance.double()).float()
    on = on & (~child | on[:, above])
    sizes = world.strengths * (0.5 + torch.rand(n, world.n_features, generator=draw))
    return on * sizes


def draw_activations(
    world: FeatureWorld, n: int, seed: int = 0
) -> tuple[Float[Tensor, "n width"], Float[Tensor, "n features"]]:
    """Activations and the codes behind them; the noise is that of a fresh stream."""
    codes = draw_codes(world, n, seed)
    draw = torch.Generator().manual_seed(derive_seed(seed, "graft/world-noise"))
    noise = world.noise * torch.randn(n, world.directions.shape[1], generator=draw)
    return codes @ world.directions + noise, codes


def draw_inputs(
    world: FeatureWorld, codes: Float[Tensor, "n features"], seed: int = 0
) -> Float[Tensor, "n width"] | None:
    """What goes into the world's map where the features are on like this; None where there is no map."""
    if world.read is None:
        return None
    draw = torch.Generator().manual_seed(derive_seed(seed, "graft/world-inputs"))
    return codes @ world.read + world.noise * torch.randn(len(codes), world.read.shape[1], generator=draw)
