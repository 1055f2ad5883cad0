"""What one step computes of K members: their losses and slopes, from tensors alone, so that it can be compiled."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import vmap

from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.core import compiled, stacks
from digsite.decompose.core.compiled import Step
from digsite.decompose.core.draws import Draws
from digsite.decompose.core.masks import Layout
from digsite.decompose.core.scene import Plan, Scene, frugal, observe
from digsite.decompose.core.stacks import Stacked

STACKED_MB = 25  # what a member's step may keep for its way back and still gain from being stacked


class Program:
    """`plan` is what is decomposed, `runner` the same with frozen embeddings multiplied into the parts; `names` are
    those of the targets' weights and of the parameters, in order.
    """

    def __init__(
        self,
        plan: Plan,
        runner: Plan,
        config: DecomposeConfig,
        draws: Draws,
        names: tuple[list[str], list[str]],
    ) -> None:
        self.plan, self.runner, self.config, self.draws, self.names = plan, runner, config, draws, names
        self._layouts: dict[torch.Size, Layout] = {}
        self._step: Step = self._forward
        self.one_by_one = False

    def choose_how(self, needed: float) -> None:
        """Compiled or not, recomputing or not, stacked or one by one, by what a member keeps for its way back.

        A compiled graph decides by itself what to keep. Stacking saves calls, not arithmetic: on a CPU it loses once a
        member's step leaves the cache.
        """
        if self._compiles():
            self._step = compiled.CompiledStep(self._forward)
        elif self.config.recompute == "auto" and needed > self.config.keep_gb * 1e9:
            self.plan, self.runner = (replace(plan, recompute=True) for plan in (self.plan, self.runner))
        on_cpu = self.draws.device.type == "cpu"
        self.one_by_one = self.plan.recompute or (on_cpu and needed > STACKED_MB * 1e6)

    def _compiles(self) -> bool:
        wanted = self.config.compile
        if self.plan.recompute:
            return False
        return wanted == "always" or (
            wanted == "auto" and self.config.steps >= compiled.WORTH_STEPS and compiled.is_possible()
        )

    @property
    def is_compiled(self) -> bool:
        return isinstance(self._step, compiled.CompiledStep)

    def layout(self, x: Tensor, weights: Stacked | None, params: Stacked) -> Layout:
        """Positions of every site for a member's batch of this shape, found by one pass."""
        if x.shape not in self._layouts:
            with torch.no_grad():
                scene = observe(self.runner, weights, params, x)
            positions = {site: tuple(inner.shape[:-1]) for site, inner in scene.inner.items()}
            n = {site: inner.shape[-1] for site, inner in scene.inner.items()}
            self._layouts[x.shape] = Layout(positions, n, self.config.delta)
        return self._layouts[x.shape]

    def gradients(
        self,
        batch: tuple[Tensor, Tensor],
        coeffs: Tensor,
        weights: Stacked | None,
        params: Stacked,
        *,
        index: int,
        progress: float,
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses (K, terms) and slopes of all parameters; `index` names the random numbers."""
        x, counts = batch
        noise = self.draws.noise(
            self.layout(x[0], stacks.member(weights, 0), {k: v[0] for k, v in params.items()}), index
        )
        knob = torch.tensor(progress, dtype=coeffs.dtype, device=coeffs.device)
        stacked = [x, counts, noise, coeffs, *(weights or {}).values(), *params.values()]
        if len(x) == 1 or not self.one_by_one:
            with (
                warnings.catch_warnings()
            ):  # an operation of somebody's model may have no batched form: slow, not wrong
                warnings.filterwarnings("ignore", message="There is a performance drop")
                return self._step(knob, *stacked)
        each = [self._step(knob, *(value[k : k + 1] for value in stacked)) for k in range(len(x))]
        return torch.cat([terms for terms, _ in each]), [torch.cat(s) for s in zip(*(s for _, s in each))]

    def _forward(
        self, progress: Tensor, x: Tensor, counts: Tensor, noise: Tensor, coeffs: Tensor, *rest: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The function that is compiled."""
        names, keys = self.names
        weights = dict(zip(names, rest[: len(names)], strict=True))
        params = dict(zip(keys, rest[len(names) :], strict=True))

        def member(x: Tensor, counts: Tensor, noise: Tensor, weights: Stacked, params: Stacked) -> Tensor:
            return self._terms(x, counts, noise, weights or None, params, progress)

        if len(x) == 1:
            first = ({k: v[0] for k, v in values.items()} for values in (weights, params))
            terms = member(x[0], counts[0], noise[0], *first)[None]
        else:
            terms = vmap(member)(x, counts, noise, weights, params)
        return terms.detach(), list(
            torch.autograd.grad((terms * coeffs).sum(), list(params.values()), materialize_grads=True)
        )

    def _terms(
        self,
        x: Tensor,
        counts: Tensor,
        noise: Tensor,
        weights: Stacked | None,
        params: Stacked,
        progress: Tensor,
    ) -> Tensor:
        """The loss terms of one member, before their coefficients."""
        drawn = self.draws.split(self._layouts[x.shape], noise)
        jitter = {k.removeprefix("jitter/"): v for k, v in drawn.items() if k.startswith("jitter/")}
        rows = counts if self.draws.capacity else None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.autocast):
            scene = observe(
                self.runner, weights, params, x, rows=rows, progress=progress, jitter=jitter or None
            )
            terms = [frugal(self.plan, self._term, name, scene, drawn) for name in self.config.losses]
            return torch.stack(terms)

    def _term(self, name: str, scene: Scene, drawn: dict[str, Tensor]) -> Tensor:
        settings = self.config.losses[name]
        own = {k.removeprefix(f"{name}/"): v for k, v in drawn.items() if k.startswith(f"{name}/")}
        mine = f"source/{name}/"  # what an adversary keeps from step to step comes beside what is drawn
        own |= {f"source/{k.removeprefix(mine)}": v for k, v in scene.params.items() if k.startswith(mine)}
        return LOSSES[settings.kind].compute(settings, scene, own)
