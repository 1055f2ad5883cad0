"""Frozen embeddings multiplied into the parts: a residual stream of 1,000 numbers is never written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import gating
from digsite.decompose.core.products import Products
from digsite.decompose.core.scene import Plan
from digsite.decompose.core.target import Target


class FoldedResidMlp(Target):
    """The same function as a residual MLP, with its stream as a sum of products (see `Products`)."""

    def __init__(self, target: Target) -> None:
        self.model, self.output, self.sites = target.model, target.output, target.sites
        self._plugs = {}
        self._runner = _Stream(target.model)

    def __call__(self, weights: Any, x: Any, plugs: Any = None) -> Tensor:
        from torch.func import functional_call

        with self._plugged(plugs or {}):
            # The stream holds the same modules, under the prefix `inner`.
            named = None if weights is None else {f"inner.{key}": value for key, value in weights.items()}
            return self._runner(x, self) if named is None else functional_call(self._runner, named, (x, self))

    def answer(self, path: str, x: Any) -> Any:
        """What a module puts out: parts where it is masked, the target's own layer elsewhere."""
        site = self.sites.get(path)
        if site is not None and path in self._plugs:
            return self._plugs[path](site, x)
        weight: Any = self.model.get_submodule(path).weight.T
        return Products(((x, weight),)) if path.endswith("mlp_out") else x @ weight


class _Stream(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, owner: FoldedResidMlp) -> Tensor:
        embedding: Any = self.inner.W_E
        stream = Products(((x, embedding),))
        for i, layer in enumerate(self.inner.layers):  # type: ignore[arg-type]
            hidden = layer.activate(owner.answer(f"layers.{i}.mlp_in", stream))
            stream = stream + owner.answer(f"layers.{i}.mlp_out", hidden)
        return stream @ embedding.T


def fold(plan: Plan, config: DecomposeConfig, batch: Tensor) -> Plan:
    """The plan with a cheaper program for the same function, or the plan as it is."""
    if not config.fold or not can_fold(plan.target, config, batch):
        return plan
    deferred = frozenset(site for site in plan.target.sites if site.endswith("mlp_out"))
    return replace(plan, target=FoldedResidMlp(plan.target), deferred=deferred)


def can_fold(target: Target, config: DecomposeConfig, batch: Tensor) -> bool:
    from digsite.models.architectures.dense import ResidMlp

    model = target.model
    if (
        not isinstance(model, ResidMlp)
        or model.config.bias
        or model.config.d_resid <= model.config.n_features
    ):
        return False
    kinds = {loss.kind for loss in config.losses.values()}
    names_fit = all(site.endswith(("mlp_in", "mlp_out")) for site in target.sites)
    return names_fit and not gating.needs_inputs(config.gate) and "hidden_recon" not in kinds
