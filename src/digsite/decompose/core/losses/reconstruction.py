"""The masked model should still do what the target does: at its output, at each layer, under chosen or worst masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from digsite.base.errors import UsageError
from digsite.config import Field
from digsite.decompose.core import masks
from digsite.decompose.core.losses import Loss
from digsite.decompose.core.losses.sparsity import sum_terms
from digsite.decompose.core.masks import Masks

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Recon(Loss):
    """Distance to the target's output; masks and routing make the reference's family of reconstruction losses."""

    kind: Literal["recon"] = "recon"
    masks: Literal["stochastic", "ci", "none"] = Field(
        default="stochastic",
        description="random between importance and one; the importances themselves; all ones",
    )
    routing: Literal["all", "layerwise", "subset"] = Field(
        default="all",
        description="replace all modules; one module at a time; at each position a random subset",
    )
    distribution: Literal["uniform", "binomial"] = Field(
        default="uniform", description="how stochastic masks are drawn"
    )
    samples: int = Field(default=1, gt=0, description="draws per step")

    def list_noise(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """One uniform number for each mask entry and sample, and routes where a random subset of modules is
        masked.
        """
        wanted: dict[str, tuple[int, ...]] = {}
        for sample in range(self.samples):
            if self.masks == "stochastic":
                wanted |= {f"{sample}/{site}": layout.mask_shape(site) for site in layout.n}
            if self.routing == "subset":
                wanted[f"{sample}/routes"] = (*layout.shared_axes(), len(layout.n) + 1)
        return wanted

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """Mean distance to the target's output over samples and passes."""
        samples = self.samples if noise else 1  # without chance every draw is the same
        terms = [
            scene.compare_output(scene.forward(drawn))
            for sample in range(samples)
            for drawn in self._list_passes(scene, noise, sample)
        ]
        return sum_terms(terms) / len(terms)

    def _list_passes(self, scene: Scene, noise: dict[str, Tensor], sample: int) -> list[Masks]:
        """All modules masked at once, each alone, or a random subset for each position."""
        drawn = self._draw_masks(scene, noise, sample)
        if self.routing == "layerwise":
            return [drawn.restrict_sites([site]) for site in drawn.parts]
        if self.routing == "subset":
            routes = masks.draw_routes(noise[f"{sample}/routes"], list(drawn.parts))
            return [Masks(drawn.parts, drawn.residual, routes)]
        return [drawn]

    def _draw_masks(self, scene: Scene, noise: dict[str, Tensor], sample: int) -> Masks:
        """Between importance and one at random, importance itself, or nothing masked."""
        importance = scene.importance.lower
        if self.masks == "ci":
            return Masks(importance)
        if self.masks == "none":
            return Masks({site: g.detach() * 0 + 1 for site, g in importance.items()})
        uniform = {site: noise[f"{sample}/{site}"] for site in importance}
        return masks.mask_between(importance, uniform, self.distribution)


class MergedRecon(Loss):
    """One masked pass with three kinds of masks mixed over the rows of a batch: random, none but what is needed, worst.

    Of each row it is drawn whether all sites are replaced or a random subset at each position; and whether the
    components that are not important are there in random measure, not at all, or as an adversary wants them. The
    adversary is persistent: its sources (a pool of them, row i of a batch using number i modulo the pool) are kept from
    step to step and climb the same gradient that the components descend, so they cost no further pass.
    """

    kind: Literal["merged_recon"] = "merged_recon"
    subset: float = Field(default=0.5, ge=0, le=1, description="share of rows with a random subset of sites")
    bare: float = Field(
        default=0.25, ge=0, le=1, description="share of rows without any unimportant component"
    )
    adversarial: float = Field(default=0.25, ge=0, le=1, description="share of rows with adversarial sources")
    pool: int = Field(
        default=1,
        gt=0,
        description="adversarial sources: 1 is shared by the batch, as many as rows is one a row",
    )
    source_lr: float = Field(
        default=0.01, gt=0, description="learning rate of the adversary (Adam, .5 and .99)"
    )

    def list_sources(self, counts: dict[str, int]) -> dict[str, tuple[int, ...]]:
        """What the adversary keeps from step to step: worst masks for a pool of rows."""
        return {site: (self.pool, n) for site, n in counts.items()} if self.adversarial else {}

    def list_noise(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Mask entries, routes, and a number per row that says which kind of mask it gets."""
        rows = layout.shared_axes()[:1]
        wanted: dict[str, tuple[int, ...]] = {site: layout.mask_shape(site) for site in layout.n}
        routes = (*layout.shared_axes(), len(layout.n) + 1)
        return wanted | {"routes": routes, "kind": rows, "whole": rows}

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """One pass for all kinds of masks: rows are bare (importance alone), adversarial or stochastic."""
        importance, uniform = scene.importance.lower, {}
        bare = (noise["kind"] < self.bare).to(noise["kind"].dtype)
        worst = (noise["kind"] > 1 - self.adversarial).to(noise["kind"].dtype)
        for site, g in importance.items():
            rows = noise[site] * spread_rows(1 - bare, g)
            if self.adversarial:
                pool = spread_pool(noise[f"source/{site}"], g)
                rows = rows * spread_rows(1 - worst, g) + pool * spread_rows(worst, g)
            uniform[site] = rows
        drawn = masks.mask_between(importance, uniform)
        routes = masks.draw_routes(noise["routes"], list(importance))
        whole = (noise["whole"] >= self.subset).to(noise["whole"].dtype)
        mixed = {
            site: spread_rows(whole, route) + (1 - spread_rows(whole, route)) * route
            for site, route in routes.items()
        }
        return scene.compare_output(scene.forward(Masks(drawn.parts, drawn.residual, mixed)))


class Adversarial(Loss):
    """Reconstruction under the worst masks that a few steps of sign ascent find."""

    ATTACKS: ClassVar[bool] = True

    kind: Literal["adversarial"] = "adversarial"
    steps: int = Field(default=1, gt=0, description="ascent steps on the mask sources")
    step_size: float = Field(default=1.0, gt=0, description="change of each source per step")
    shared: bool = Field(
        default=True, description="one set of sources for the whole batch, or one per position"
    )
    routing: Literal["all", "subset"] = Field(
        default="all", description="replace all modules, or a random subset at each position"
    )

    def list_noise(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Where the ascent starts; `shared` is one mask for the whole batch."""

        def shape_sources(site: str) -> tuple[int, ...]:
            shape = layout.mask_shape(site)
            return (*(1 for _ in shape[:-1]), shape[-1]) if self.shared else shape

        wanted = {site: shape_sources(site) for site in layout.n}
        routes = {"routes": (*layout.shared_axes(), len(layout.n) + 1)} if self.routing == "subset" else {}
        return wanted | routes

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """A few steps of signed ascent on the mask between importance and one, then the distance there."""
        from torch.func import grad

        routes = masks.draw_routes(noise["routes"], list(scene.inner)) if self.routing == "subset" else None

        def measure_distance(sources: dict[str, Tensor]) -> Tensor:
            drawn = masks.mask_between(scene.importance.lower, sources)
            return scene.compare_output(scene.forward(Masks(drawn.parts, drawn.residual, routes)))

        sources = {site: noise[site] for site in scene.inner}
        for _ in range(self.steps):
            slopes = grad(measure_distance)(sources)
            sources = {
                s: (r + self.step_size * slopes[s].sign()).clamp(0, 1).detach() for s, r in sources.items()
            }
        return measure_distance(sources)


class HiddenRecon(Loss):
    """Under stochastic masks every replaced module should still put out what it put out in the target."""

    kind: Literal["hidden_recon"] = "hidden_recon"
    masks: Literal["stochastic", "ci"] = Field(
        default="stochastic", description="random masks, or the importances themselves"
    )

    def list_noise(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Mask entries where they are drawn."""
        return {site: layout.mask_shape(site) for site in layout.n} if self.masks == "stochastic" else {}

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """Each module's own output, which a masked model may get wrong although its final output is right."""
        importance = scene.importance.lower
        drawn = masks.mask_between(importance, noise) if noise else Masks(importance)
        caught: dict[str, Any] = {}
        scene.forward(drawn, caught)
        terms = [
            scene.average((caught[site] - wanted).square().mean(-1)) for site, wanted in scene.outputs.items()
        ]
        return sum_terms(terms) / len(terms)


class EmbeddingRecon(Loss):
    """A decomposed embedding should give back each token's vector under stochastic masks; one module only."""

    ONE_MODULE: ClassVar[bool] = True

    kind: Literal["embedding_recon"] = "embedding_recon"

    def list_noise(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Mask entries of the one module."""
        if len(layout.n) != 1:
            raise UsageError(
                f"The loss 'embedding_recon' needs exactly one decomposed module, and there are {len(layout.n)}."
            )
        return {site: layout.mask_shape(site) for site in layout.n}

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """The vectors themselves: one module has no later layer that would forgive an error."""
        (site,) = scene.inner
        drawn = masks.mask_between(scene.importance.lower, noise)
        built = scene.build_vectors(site, drawn)
        wanted = scene.plan.target.sites[site].read_inner(scene.inputs[site], scene.matrices[site])
        return scene.average((built - wanted).square().sum(-1))


def spread_rows(values: Tensor, like: Tensor) -> Tensor:
    """One number per row (rows,) on the axes of `like` (rows, ...)."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def spread_pool(pool: Tensor, like: Tensor) -> Tensor:
    """(pool, n) to (rows, 1.., n): row i gets number i modulo the pool."""
    import torch

    index = torch.arange(like.shape[0], device=pool.device) % pool.shape[0]
    return pool[index].reshape(like.shape[0], *([1] * (like.ndim - 2)), pool.shape[1])
