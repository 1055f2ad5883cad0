"""Train K decompositions as one stacked program: of K targets, or of one target from K seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from digsite.base.errors import DigsiteError, UsageError
from digsite.decompose import compiled, gating, kept, parallel, parts, schedules, stacks
from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.decomposition import Decomposition
from digsite.decompose.draws import Draws, Sampler, generator
from digsite.decompose.folding import fold
from digsite.decompose.gating import Shape
from digsite.decompose.masks import Layout
from digsite.decompose.retiring import retire
from digsite.decompose.scene import Plan, Scene, frugal, observe
from digsite.decompose.setup import check, component_counts
from digsite.decompose.target import Target, check_deterministic

__all__ = ["Fit", "Problem", "Sampler", "Vary"]

STACKED_MB = 25  # what a member's step may keep for its way back and still gain from being stacked


@dataclass(frozen=True)
class Problem:
    """What is decomposed: one model, or K models of one architecture; the modules; where batches come from."""

    models: Sequence[nn.Module]
    modules: Sequence[str]
    sample: Sampler
    identity: Sequence[str] = ()
    output: str = ""


@dataclass(frozen=True)
class Vary:
    """What may differ among members beside their seed: coefficients (K, losses), factors (K) on the learning rate."""

    coeffs: Tensor
    rates: Tensor


class Fit:
    """K decompositions in training: call `step(i)` for i in 0..steps-1, then read `member(k)`."""

    def __init__(
        self,
        problem: Problem,
        config: DecomposeConfig,
        seeds: Sequence[int],
        *,
        vary: Vary | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if len(problem.models) not in (1, len(seeds)):
            raise UsageError(
                f"There are {len(problem.models)} models for {len(seeds)} seeds: give one model or one per seed."
            )
        self.config, self.seeds, self.sample, self.problem = config, list(seeds), problem.sample, problem
        self.device, self.dtype = torch.device(device), dtype
        self.target = Target(
            problem.models[0], problem.modules, identity=problem.identity, output=problem.output
        )
        self.target.model.to(self.device, dtype)
        self.names = list(config.losses)
        coeffs = vary.coeffs if vary else torch.tensor([config.losses[n].coeff for n in self.names])
        self.rates = vary.rates.to(self.device, dtype) if vary else None
        self.coeffs = coeffs.to(self.device, dtype).expand(len(seeds), -1).clone()
        self.draws = Draws(problem.sample, self.seeds, config, self.device, dtype)
        self.weights = stacks.stack_weights(self.target, problem.models)
        first = self.draws.one(0, 0)
        self.matrices = stacks.stack_matrices(self.target, self.weights, len(seeds), first)
        check(config, self.target, first)
        check_deterministic(self.target, first)
        self.plan = self._plan()
        self._runner = fold(self.plan, config, first)
        if self._may_merge(first):
            self.draws.make_room()
        self.params = self._initial()
        self._moments()
        self._layouts: dict[torch.Size, Layout] = {}
        own = {k: v for k, v in self.params.items() if not k.startswith("gate/")}
        parts.learn_to_add_up(own, self.matrices, self.plan.owners, config.faithfulness_warmup)
        self._step, self.one_by_one = self._forward, False
        self._choose_how(kept.expected_bytes(self))

    # --- construction -------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        owners = parts.find_owners(self.matrices, self.config.tied)
        c = self.config
        return Plan(
            self.target, owners, c.gate, c.sigmoid, c.delta, c.compare, recompute=c.recompute == "always"
        )

    @property
    def shapes(self) -> dict[str, Shape]:
        counts = component_counts(self.config.C, list(self.target.sites))
        return {
            n: Shape(m.shape[-2], m.shape[-1], counts[self.plan.owners[n]]) for n, m in self.matrices.items()
        }

    def _initial(self) -> dict[str, Tensor]:
        members = []
        for k, seed in enumerate(self.seeds):

            def draw(name: str, *shape: int, seed: int = seed) -> Tensor:
                return torch.randn(shape, generator=generator(seed, f"init/{name}"), dtype=self.dtype)

            own = {name: matrix[k].cpu() for name, matrix in self.matrices.items()}
            made = parts.init(self.shapes, own, self.plan.owners, self.config.init, draw)
            made |= {f"gate/{key}": v for key, v in gating.init(self.config.gate, self.shapes, draw).items()}
            members.append(made)
        return {
            key: torch.stack([m[key] for m in members]).to(self.device).requires_grad_() for key in members[0]
        }

    def _may_merge(self, first: Tensor) -> bool:
        if not self.config.merge_zero_rows or first.ndim != 2 or not first.is_floating_point():
            return False
        return stacks.is_silent_at_zero(self.target, self.weights, len(self.seeds), first)

    def _moments(self) -> None:
        gates = [v for k, v in self.params.items() if k.startswith("gate/")]
        own = [v for k, v in self.params.items() if not k.startswith("gate/")]
        decay = self.config.weight_decay
        groups = [{"params": own, "share": 1.0}, {"params": gates, "share": self.config.gate_lr}]
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, weight_decay=decay, fused=True)

    def _choose_how(self, needed: float) -> None:
        """Compiled or not, recomputing or not, stacked or one by one, by what a member keeps for its way back.

        A compiled graph decides by itself what to keep. Stacking saves calls, not arithmetic: on a CPU it loses once a
        member's step leaves the cache.
        """
        if self._compiles():
            self._step = compiled.CompiledStep(self._forward)
        elif self.config.recompute == "auto" and needed > self.config.keep_gb * 1e9:
            self.plan, self._runner = (replace(plan, recompute=True) for plan in (self.plan, self._runner))
        self.one_by_one = self.plan.recompute or (self.device.type == "cpu" and needed > STACKED_MB * 1e6)

    def _compiles(self) -> bool:
        wanted = self.config.compile
        if self.plan.recompute:
            return False
        return wanted == "always" or (
            wanted == "auto" and self.config.steps >= compiled.WORTH_STEPS and compiled.is_possible()
        )

    # --- one step -----------------------------------------------------------------------------------------

    def step(self, i: int) -> dict[str, Tensor]:
        """One optimizer step; the loss terms by name, one number per member."""
        self._set_rate(i)
        if i and i == round(self.config.retire * self.config.steps):
            retire(self)
        total: list[Tensor] | None = None
        terms = torch.zeros(())
        rank, size = parallel.place()
        for j in range(self.config.accumulate):
            index = (i * self.config.accumulate + j) * size + rank
            found, slopes = self._gradients(index, i / self.config.steps)
            terms = terms.to(found) + found / self.config.accumulate
            share = [slope / self.config.accumulate for slope in slopes]
            total = share if total is None else [a + b for a, b in zip(total, share, strict=True)]
        assert total is not None
        parallel.average([terms, *total])
        self._check_finite(terms, i)
        self._apply(total)
        return {name: terms[:, n] for n, name in enumerate(self.names)}

    def _gradients(self, index: int, progress: float) -> tuple[Tensor, list[Tensor]]:
        return self.gradients(*self.draws.batch(index), index, progress)

    def gradients(
        self, x: Tensor, counts: Tensor, index: int, progress: float
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses (K, terms) and slopes of all parameters on one batch."""
        noise = self.draws.noise(self.layout(x), index)
        extra = list(self.weights.values()) if self.weights else []
        knob = torch.tensor(progress, dtype=self.dtype, device=self.device)
        stacked = [x, counts, noise, self.coeffs, *extra, *self.params.values()]
        if len(x) == 1 or not self.one_by_one:
            return self._step(knob, *stacked)
        each = [self._step(knob, *(value[k : k + 1] for value in stacked)) for k in range(len(x))]
        return torch.cat([terms for terms, _ in each]), [torch.cat(s) for s in zip(*(s for _, s in each))]

    def _forward(
        self, progress: Tensor, x: Tensor, counts: Tensor, noise: Tensor, coeffs: Tensor, *rest: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses (members, terms) and gradients: the function that is compiled, on tensors alone."""
        keys = list(self.weights or {})
        weights, values = dict(zip(keys, rest, strict=False)), list(rest[len(keys) :])
        layout = self.layout(x)

        def member(
            x: Tensor, counts: Tensor, noise: Tensor, weights: dict[str, Tensor], params: dict[str, Tensor]
        ) -> Tensor:
            return self._terms(x, counts, self.draws.split(layout, noise), weights or None, params, progress)

        params = dict(zip(self.params, values, strict=True))
        if len(x) == 1:
            first = {k: v[0] for k, v in params.items()}
            terms = member(x[0], counts[0], noise[0], {k: v[0] for k, v in weights.items()}, first)[None]
        else:
            terms = vmap(member)(x, counts, noise, weights, params)
        return terms.detach(), list(torch.autograd.grad((terms * coeffs).sum(), values))

    def _terms(
        self,
        x: Tensor,
        counts: Tensor,
        noise: dict[str, Tensor],
        weights: dict[str, Tensor] | None,
        params: dict[str, Tensor],
        progress: Tensor,
    ) -> Tensor:
        jitter = {k.removeprefix("jitter/"): v for k, v in noise.items() if k.startswith("jitter/")}
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.autocast):
            scene = observe(
                self._runner,
                weights,
                params,
                x,
                rows=counts if self.draws.capacity else None,
                progress=progress,
                jitter=jitter or None,
            )
            return torch.stack([frugal(self.plan, self._term, name, scene, noise) for name in self.names])

    def _term(self, name: str, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        settings = self.config.losses[name]
        own = {k.removeprefix(f"{name}/"): v for k, v in noise.items() if k.startswith(f"{name}/")}
        return LOSSES[settings.kind].compute(settings, scene, own)

    def _apply(self, slopes: list[Tensor]) -> None:
        if self.config.clip:
            norm = torch.stack([s.flatten(1).norm(dim=1) for s in slopes]).norm(dim=0)
            scale = (self.config.clip / (norm + 1e-6)).clamp(max=1)
            slopes = [s * scale.reshape(-1, *([1] * (s.ndim - 1))) for s in slopes]
        for value, slope in zip(self.params.values(), slopes, strict=True):
            value.grad = slope
        before = [value.detach().clone() for value in self.params.values()] if self.rates is not None else []
        self.optimizer.step()
        with torch.no_grad():
            for value, start in zip(self.params.values(), before):  # AdamW's step is linear in the rate
                assert self.rates is not None
                value.copy_(torch.lerp(start, value, self.rates.reshape(-1, *([1] * (value.ndim - 1)))))

    def _set_rate(self, i: int) -> None:
        s = self.config.schedule
        rate = self.config.lr * schedules.factor(
            s.kind, i, self.config.steps, warmup=s.warmup, final=s.final, halflife=s.halflife
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]

    def _check_finite(self, terms: Tensor, i: int) -> None:
        if torch.isfinite(terms).all():
            return
        member, term = (~torch.isfinite(terms)).nonzero()[0].tolist()
        raise DigsiteError(
            f"The loss '{self.names[term]}' of member {member} is not finite at step {i}.",
            hint="The last checkpoint is kept; try a smaller lr or clip=1.",
        )

    def layout(self, x: Tensor) -> Layout:
        """Positions of every site for batches of this shape, found by one pass."""
        if x.shape not in self._layouts:
            with torch.no_grad():
                scene = observe(self._runner, self.member_weights(0), self.member(0), x[0])
            positions = {site: tuple(inner.shape[:-1]) for site, inner in scene.inner.items()}
            n = {site: inner.shape[-1] for site, inner in scene.inner.items()}
            self._layouts[x.shape] = Layout(positions, n, self.config.delta)
        return self._layouts[x.shape]

    # --- results ----------------------------------------------------------------------------------------------

    def member(self, k: int) -> dict[str, Tensor]:
        return {key: value[k].detach().clone() for key, value in self.params.items()}

    @property
    def is_compiled(self) -> bool:
        return isinstance(self._step, compiled.CompiledStep)

    def keep(self, members: Sequence[int]) -> None:
        """Only these members stay in the stack; what they become does not change."""
        index = torch.tensor(members, device=self.device)
        state = self.state()
        self.seeds = [self.seeds[k] for k in members]
        self.draws.seeds = self.seeds
        if len(self.problem.models) > 1:
            self.problem = replace(self.problem, models=[self.problem.models[k] for k in members])
        self.weights = {k: v[index] for k, v in self.weights.items()} if self.weights else None
        self.coeffs = self.coeffs[index]
        self.rates = None if self.rates is None else self.rates[index]
        self.params = {k: v[index].requires_grad_() for k, v in state["params"].items()}
        self._moments()
        moments = {
            i: {name: value[index] if value.ndim else value for name, value in moment.items()}
            for i, moment in state["moments"].items()
        }
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})

    def decomposition(self, k: int) -> Decomposition:
        """Member k as an object of its own."""
        models = self.problem.models
        return self.on(models[k if len(models) > 1 else 0], self.member(k))

    def on(self, model: nn.Module, params: dict[str, Tensor]) -> Decomposition:
        """A decomposition of `model`, on a frozen copy of its own."""
        problem = self.problem
        copy = Target(model, problem.modules, identity=problem.identity, output=problem.output)
        copy.model.to(self.device, self.dtype)
        origin = {
            "modules": list(problem.modules),
            "identity": list(problem.identity),
            "output": problem.output,
        }
        return Decomposition(replace(self.plan, target=copy), params, self.config, origin)

    def member_weights(self, k: int) -> dict[str, Tensor] | None:
        return stacks.member(self.weights, k)

    def state(self) -> dict[str, Any]:
        moments = self.optimizer.state_dict()["state"]
        return {"params": {k: v.detach() for k, v in self.params.items()}, "moments": moments}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for key, value in state["params"].items():
                self.params[key].copy_(value)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state["moments"]})
