"""One finished decomposition: its components, what they do on data, and models edited through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import editing, masks, storage
from digsite.decompose.core.clustering import Clustering, cluster
from digsite.decompose.core.compare import ModuleMatch, compare
from digsite.decompose.core.components import Components as Components
from digsite.decompose.core.explain import Explanation, explain
from digsite.decompose.core.masks import Layout, Masks
from digsite.decompose.core.parts import factors
from digsite.decompose.core.scene import Plan, Scene, observe

Choice = Mapping[str, Sequence[int]]  # module -> component numbers
MASKINGS = ("ci", "rounded", "stochastic", "random", "unmasked", "zero")


class Decomposition:
    """Reads its own frozen copy of the model; nothing here changes the model it was made from."""

    def __init__(
        self, plan: Plan, params: Mapping[str, Tensor], config: DecomposeConfig, origin: dict[str, Any]
    ) -> None:
        self.plan, self.params, self.config, self.origin = plan, dict(params), config, origin

    @property
    def modules(self) -> list[str]:
        return list(self.plan.target.sites)

    def _repr_html_(self) -> str:
        """In a notebook: modules with their components, and how strong those are."""
        from digsite.figures import curves
        from digsite.figures.notebook import notebook_card

        norms = {
            module: self.components(module).norms.detach().sort(descending=True).values
            for module in self.modules
        }
        facts = {module: f"{len(values)} components" for module, values in norms.items()}
        ranked = {module: (range(1, len(v) + 1), v.cpu().numpy()) for module, v in list(norms.items())[:8]}
        figure = curves(ranked, x="component, strongest first", y="norm of V times norm of U", log_y=True)
        return notebook_card("Decomposition", facts, figure)

    @property
    def model(self) -> nn.Module:
        """The frozen copy of the target."""
        return self.plan.target.model

    def components(self, module: str) -> Components:
        self._check(module)
        v, u = factors(self.params, self.plan.owners, module)
        return Components(v, u, self.plan.target.sites[module].matrix().detach())

    @torch.no_grad()
    def scene(self, batch: Any) -> Scene:
        return observe(self.plan, None, self.params, batch)

    def importance(self, batch: Any) -> dict[str, Tensor]:
        """Causal importance of every component at every position, in [0, 1], by module."""
        return self.scene(batch).importance.lower

    @torch.no_grad()
    def output(
        self,
        batch: Any,
        masking: str = "ci",
        *,
        threshold: float = 0.1,
        generator: torch.Generator | None = None,
        modules: Sequence[str] | None = None,
    ) -> Tensor:
        """The model's output with components masked: by importance, rounded importance, stochastically, ..."""
        scene = self.scene(batch)
        drawn = self.draw(scene, masking, threshold, generator)
        return scene.forward(drawn if modules is None else drawn.restrict(modules))

    def draw(
        self, scene: Scene, masking: str, threshold: float = 0.1, generator: torch.Generator | None = None
    ) -> Masks:
        found = scene.importance.lower
        if masking == "ci":
            return Masks(found)
        if masking == "rounded":
            return Masks({m: (g > threshold).to(g.dtype) for m, g in found.items()})
        if masking in ("unmasked", "zero"):
            return Masks({m: torch.full_like(g, float(masking == "unmasked")) for m, g in found.items()})
        if masking not in MASKINGS:
            raise UsageError(f"'{masking}' is not a masking. {name_nearest(masking, MASKINGS)}")
        layout = Layout(
            {m: tuple(g.shape[:-1]) for m, g in found.items()},
            {m: g.shape[-1] for m, g in found.items()},
            self.plan.delta,
        )
        uniform = {m: torch.rand(layout.mask(m), generator=generator).to(g) for m, g in found.items()}
        if masking == "random":
            return Masks({m: u[..., : found[m].shape[-1]] for m, u in uniform.items()})
        return masks.between(found, uniform)

    # --- what the components are about ----------------------------------------------------------------------

    def explain(self, module: str, component: int, batch: Tensor, n_top: int = 10) -> Explanation:
        """Top inputs, moved outputs, nearest neuron and singular direction of one component."""
        self._check(module)
        return explain(self, module, component, batch, n_top)

    def compare(self, other: Decomposition) -> dict[str, ModuleMatch]:
        """Match the components of two decompositions, module by module."""
        return compare(self, other)

    def cluster(self, batch: Any, *, threshold: float = 0.1) -> Clustering:
        """Components across modules that act together, as mechanisms."""
        return cluster(self.importance(batch), threshold=threshold)

    # --- edited models ------------------------------------------------------------------------------------

    def edit(self, scales: Mapping[str, Mapping[int, float]]) -> nn.Module:
        """A copy of the model in which each named component is scaled; everything else stays, the residual too."""
        return editing.scaled(self, scales)

    def ablate(self, off: Choice) -> nn.Module:
        """A copy of the model without these components."""
        return self.edit({module: dict.fromkeys(numbers, 0.0) for module, numbers in off.items()})

    def keep(self, on: Choice, *, residual: bool = False) -> nn.Module:
        """A copy of the model whose named modules consist of these components alone."""
        return editing.only(self, on, residual)

    # --- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """One safetensors file: parts, gates, the target's weights, and the settings as metadata."""
        return storage.save(self, Path(path))

    @classmethod
    def load(cls, reference: str | Path, *, model: nn.Module | None = None) -> Decomposition:
        """From a path or `run:ID`; `model` gives the architecture when it is not one of digsite's own."""
        return cls(*storage.load(reference, model))

    def _check(self, module: str) -> None:
        if module not in self.plan.target.sites:
            raise UsageError(
                f"The module '{module}' was not decomposed. {name_nearest(module, self.modules)}"
            )
