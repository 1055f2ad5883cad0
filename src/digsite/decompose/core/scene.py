"""One member's step as the losses see it: target output, importances, and masked passes through the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from digsite.config import Config
from digsite.decompose.core import gating, parts
from digsite.decompose.core.gating import Importance
from digsite.decompose.core.masks import Masks
from digsite.decompose.core.products import Products
from digsite.decompose.core.target import Site, Target, Weights


@dataclass(frozen=True)
class Plan:
    """What stays the same over all steps and members."""

    target: Target
    owners: dict[str, str]
    gate: Config
    sigmoid: str
    delta: bool
    compare: str  # mse | kl | relative
    recompute: bool = False
    unit: float = 1.0  # variance of the target's output, for compare=relative
    deferred: frozenset[str] = frozenset()  # sites whose output stays a sum of products


@dataclass
class Scene:
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

    def forward(
        self, masks: Masks, caught: dict[str, Any] | None = None, inner: dict[str, Tensor] | None = None
    ) -> Tensor:
        """The model with the masked sites answered by their parts.

        `caught` collects what those sites put out, `inner` the inner activations of their parts before masking.
        """

        def plug(site: Site, x: Any) -> Any:
            acts = site.read(x, self.factors[site.name][0])
            y = self._masked(site, x, acts, masks)
            if caught is not None:
                caught[site.name] = y
            if inner is not None:
                inner[site.name] = acts
            return y

        return self.plan.target(self.weights, self.x, dict.fromkeys(masks.parts, plug))

    def distance(self, output: Tensor) -> Tensor:
        return self.mean(gap(output, self.output, self.plan.compare, self.plan.unit))

    def mean(self, values: Tensor) -> Tensor:
        """Mean over positions, rows counted as often as they stand for."""
        if self.rows is None:
            return values.mean()
        return (
            (values.flatten(1).mean(1) * self.rows).sum() / self.rows.sum()
            if values.ndim > 1
            else ((values * self.rows).sum() / self.rows.sum())
        )

    def _masked(self, site: Site, x: Any, acts: Tensor, masks: Masks) -> Any:
        name = site.name
        y = self._through(site, acts * masks.parts[name], self.factors[name][1])
        if masks.residual is not None:
            y = y + self._read(site, x, self.residuals[name]) * masks.residual[name]
        if masks.routes is not None:
            route = _fit(masks.routes[name], masks.parts[name])
            y = y * route + self._read(site, x, site.matrix()) * (1 - route)
        return y if site.is_identity else site.layer.finish(site.module, y)

    def _through(self, site: Site, inner: Tensor, u: Tensor) -> Any:
        return Products(((inner, u),)) if site.name in self.plan.deferred else inner @ u

    def _read(self, site: Site, x: Any, weight: Tensor) -> Any:
        return Products(((x, weight),)) if site.name in self.plan.deferred else site.read(x, weight)


def _fit(route: Tensor, like: Tensor) -> Tensor:
    """Routes live on the axes that all sites share; a site with more axes repeats them."""
    missing = like.ndim - route.ndim
    return route.reshape(*route.shape[:-1], *([1] * missing), 1)


def frugal(plan: Plan, function: Callable[..., Any], *args: Any) -> Any:
    """The function's value; with `recompute` its intermediate values are computed again when gradients need them."""
    if not plan.recompute:
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)


def gap(output: Tensor, wanted: Tensor, compare: str, unit: float = 1.0) -> Tensor:
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


def observe(
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
        inputs[site.name], matrices[site.name] = x, site.matrix()
        outputs[site.name] = y = _target_output(plan, site, x)
        return y

    output = plan.target(weights, x, dict.fromkeys(plan.target.sites, record))
    inputs, matrices = ({name: found[name] for name in plan.target.sites} for found in (inputs, matrices))
    factors = {name: parts.factors(params, plan.owners, name) for name in inputs}
    inner = {name: plan.target.sites[name].read(value, factors[name][0]) for name, value in inputs.items()}
    gates = {key.removeprefix("gate/"): value for key, value in params.items() if key.startswith("gate/")}
    importance = gating.importance(_logits(plan, gates, inner, inputs), plan.sigmoid, jitter)
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
    )


def _logits(
    plan: Plan, gates: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Any]
) -> dict[str, Tensor]:
    """Site by site, so that recomputing holds the values of one site at a time; global gates need all at once."""
    groups = [list(inner)] if plan.gate.kind.startswith("global") else [[site] for site in inner]
    found: dict[str, Tensor] = {}
    for sites in groups:
        some = ({site: values[site] for site in sites} for values in (inner, inputs))
        found |= frugal(plan, gating.logits, plan.gate, gates, *some)
    return found


def _target_output(plan: Plan, site: Site, x: Any) -> Any:
    if site.name in plan.deferred:
        return Products(((x, site.matrix()),))
    return site.original(x)
