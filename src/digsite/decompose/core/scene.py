"""One member's step as the losses see it: target output, importances, and masked passes through the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from digsite.base.errors import UsageError, name_nearest
from digsite.decompose.core.gates import Gate
from digsite.decompose.core.masks import (
    USED,
    Importance,
    Layout,
    Masks,
    find_used,
    mask_between,
    squash_logits,
)
from digsite.decompose.core.target import Early, Products, Site, Target, Weights

IS_EXACT = "A"  # a site with this parameter keeps its sum: see `get_factors`
MASKINGS = ("ci", "rounded", "stochastic", "random", "unmasked", "zero")


@dataclass(frozen=True)
class Plan:
    """What stays the same over all steps and members."""

    target: Target
    owners: dict[str, str]
    gate: Gate
    sigmoid: str
    delta: bool
    compare: str  # mse | kl | relative
    recompute: bool = False
    unit: float = 1.0  # variance of the target's output, for compare=relative
    deferred: frozenset[str] = frozenset()  # sites whose output stays a sum of products


@dataclass
class Scene:
    """One batch of one member: what the target does on it, what its parts do, and how important they are."""

    plan: Plan
    weights: Weights | None
    params: dict[str, Tensor]
    x: Any
    rows: Tensor | None  # how many rows each row of the batch stands for
    progress: Tensor | float
    output: Tensor
    inputs: dict[str, Any]
    inner: dict[str, Tensor]
    outputs: dict[str, Any]
    matrices: dict[str, Tensor]
    factors: dict[str, tuple[Tensor, Tensor]]
    residuals: dict[str, Tensor]
    importance: Importance
    early: Early | None = None  # what comes before the first site, which every masked pass shares

    def forward(
        self, masks: Masks, caught: dict[str, Any] | None = None, inner: dict[str, Tensor] | None = None
    ) -> Tensor:
        """The model with the masked sites answered by their parts.

        `caught` collects what those sites put out, `inner` the inner activations of their parts before masking.
        """

        def plug(site: Site, x: Any) -> Any:
            acts = site.read_inner(x, self.factors[site.name][0])
            y = self._answer_masked(site, x, acts, masks)
            if caught is not None:
                caught[site.name] = y
            if inner is not None:
                inner[site.name] = acts
            return y

        return self.plan.target(self.weights, self.x, dict.fromkeys(masks.parts, plug), self.early)

    def compare_output(self, output: Tensor) -> Tensor:
        """How far an output is from the target's, a scalar."""
        return self.average(measure_gap(output, self.output, self.plan.compare, self.plan.unit))

    def average(self, values: Tensor) -> Tensor:
        """Mean over positions, rows counted as often as they stand for."""
        if self.rows is None:
            return values.mean()
        return (
            (values.flatten(1).mean(1) * self.rows).sum() / self.rows.sum()
            if values.ndim > 1
            else ((values * self.rows).sum() / self.rows.sum())
        )

    def draw_masks(
        self,
        masking: str,
        threshold: float = USED,
        generator: torch.Generator | None = None,
        *,
        residual: bool = True,
    ) -> Masks:
        """Masks of one of the MASKINGS; `residual` lets what the parts leave over take part where masks are random.

        ci: importances themselves; rounded: 1 above the threshold; stochastic: random between importance and one;
        random: uniform; unmasked, zero: all parts on, all off.
        """
        lower = self.importance.lower
        if masking == "ci":
            return Masks(lower)
        if masking == "rounded":
            return Masks({m: find_used(g, threshold).to(g.dtype) for m, g in lower.items()})
        if masking in ("unmasked", "zero"):
            return Masks({m: torch.full_like(g, float(masking == "unmasked")) for m, g in lower.items()})
        if masking not in MASKINGS:
            raise UsageError(f"'{masking}' is not a masking. {name_nearest(masking, MASKINGS)}")
        layout = self.find_layout(residual=residual and self.plan.delta)
        uniform = {m: torch.rand(layout.mask_shape(m), generator=generator).to(g) for m, g in lower.items()}
        if masking == "random":
            return Masks({m: u[..., : lower[m].shape[-1]] for m, u in uniform.items()})
        return mask_between(lower, uniform)

    def find_layout(self, *, residual: bool) -> Layout:
        """Positions and component counts of every site on this batch."""
        lower = self.importance.lower
        return Layout(
            {m: tuple(g.shape[:-1]) for m, g in lower.items()},
            {m: g.shape[-1] for m, g in lower.items()},
            residual,
        )

    def build_vectors(self, site: str, masks: Masks) -> Tensor:
        """(..., d_out): what the masked parts of one site make of what the target's site reads, without its bias."""
        built = (self.inner[site] * masks.parts[site]) @ self.factors[site][1]
        if masks.residual is None:
            return built
        left = self.plan.target.sites[site].read_inner(self.inputs[site], self.residuals[site])
        return built + left * masks.residual[site]

    def _answer_masked(self, site: Site, x: Any, acts: Tensor, masks: Masks) -> Any:
        """x V masked, then U; the residual under its own mask; the target itself where routing says so."""
        name = site.name
        y = self._write_parts(site, acts * masks.parts[name], self.factors[name][1])
        if masks.residual is not None:
            y = y + self._read_site(site, x, self.residuals[name]) * masks.residual[name]
        if masks.routes is not None:
            route = fit_route(masks.routes[name], masks.parts[name])
            y = y * route + self._read_site(site, x, site.get_matrix()) * (1 - route)
        return y if site.is_identity else site.layer.finish_output(site.module, y)

    def _write_parts(self, site: Site, inner: Tensor, u: Tensor) -> Any:
        """Kept as a product where the site is deferred, so that nothing wide is multiplied out."""
        return Products(((inner, u),)) if site.name in self.plan.deferred else inner @ u

    def _read_site(self, site: Site, x: Any, weight: Tensor) -> Any:
        """A whole matrix at a site, as it stands."""
        return Products(((x, weight),)) if site.name in self.plan.deferred else site.read_inner(x, weight)


def fit_route(route: Tensor, like: Tensor) -> Tensor:
    """Routes live on the axes that all sites share; a site with more axes repeats them."""
    missing = like.ndim - route.ndim
    return route.reshape(*route.shape[:-1], *([1] * missing), 1)


def run_frugally(plan: Plan, function: Callable[..., Any], *args: Any) -> Any:
    """The function's value; with `recompute` its intermediate values are computed again when gradients need them."""
    if not plan.recompute:
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)


def measure_gap(output: Tensor, wanted: Tensor, compare: str, unit: float = 1.0) -> Tensor:
    """Per position: mean squared error over entries, or KL(wanted || output) summed over classes.

    `relative` is log(1 + e), e the squared error summed over entries in units of the output's variance: like e where it
    is small, and tame where one wrong step throws the output far away (a network with steep steps does that).
    """
    if compare == "kl":
        reference = F.log_softmax(wanted, -1)
        return (reference.exp() * (reference - F.log_softmax(output, -1))).sum(-1)
    if compare == "relative":
        return ((output - wanted).square().sum(-1) / unit).log1p()
    return (output - wanted).square().mean(-1)


def observe_batch(
    plan: Plan,
    weights: Weights | None,
    params: dict[str, Tensor],
    x: Any,
    *,
    rows: Tensor | None = None,
    progress: Tensor | float = 0.0,
    jitter: dict[str, Tensor] | None = None,
) -> Scene:
    """Run the target once, read its sites, and compute the importances of all components."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    matrices: dict[str, Tensor] = {}

    def record(site: Site, x: Any) -> Any:
        inputs[site.name], matrices[site.name] = x, site.get_matrix()
        outputs[site.name] = y = answer_as_target(plan, site, x)
        return y

    early = Early() if plan.target.replays else None
    output = plan.target(weights, x, dict.fromkeys(plan.target.sites, record), early)
    inputs, matrices = ({name: values[name] for name in plan.target.sites} for values in (inputs, matrices))
    factors = {name: get_factors(params, plan.owners, name) for name in inputs}
    inner = {
        name: plan.target.sites[name].read_inner(value, factors[name][0]) for name, value in inputs.items()
    }
    gates = {key.removeprefix("gate/"): value for key, value in params.items() if key.startswith("gate/")}
    importance = squash_logits(compute_logits(plan, gates, inner, inputs), plan.sigmoid, jitter)
    residuals = {name: matrices[name] - v @ u for name, (v, u) in factors.items()}
    return Scene(
        plan,
        weights,
        params,
        x,
        rows,
        progress,
        output,
        inputs,
        inner,
        outputs,
        matrices,
        factors,
        residuals,
        importance,
        early,
    )


def compute_logits(
    plan: Plan, gates: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Any]
) -> dict[str, Tensor]:
    """Site by site, so that recomputing holds the values of one site at a time; global gates need all at once."""
    groups = [list(inner)] if plan.gate.ALL_AT_ONCE else [[site] for site in inner]
    logits: dict[str, Tensor] = {}
    for sites in groups:
        some = ({site: values[site] for site in sites} for values in (inner, inputs))
        logits |= run_frugally(plan, plan.gate.compute_logits, gates, *some)
    return logits


def answer_as_target(plan: Plan, site: Site, x: Any) -> Any:
    """What the target does at a site."""
    if site.name in plan.deferred:
        return Products(((x, site.get_matrix()),))
    return site.answer_itself(x)


def get_factors(params: dict[str, Tensor], owners: dict[str, str], site: str) -> tuple[Tensor, Tensor]:
    """(V, U) of a site; a borrower sees its owner's parts transposed.

    With a mixing A the parts are V A and A^-1 U: whatever A is, they add up to the same matrix, so training can turn them
    without ever being unfaithful. A step of A is relative to the parts' own size.
    """
    owner = owners[site]
    v, u = params[f"{owner}/V"], params[f"{owner}/U"]
    if (mixing := params.get(f"{owner}/{IS_EXACT}")) is not None:
        v, u = v.detach() @ mixing, torch.linalg.solve(mixing, u.detach())
    return (v, u) if owner == site else (u.mT, v.mT)
