"""Train K decompositions as one stacked program: of K targets, or of one target from K seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from digsite.base.errors import DigsiteError, UsageError
from digsite.base.streams import derive
from digsite.decompose import compiled, gating, parallel, parts, rows, schedules
from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.decomposition import Decomposition
from digsite.decompose.folding import fold
from digsite.decompose.gating import Shape
from digsite.decompose.masks import Layout
from digsite.decompose.scene import Plan, Scene, frugal, observe
from digsite.decompose.setup import check, component_counts
from digsite.decompose.target import Target, check_deterministic

Sampler = Callable[[torch.Generator], Tensor]  # one batch (B, ...) from a generator


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
    """What may differ among members beside their seed: coefficients (K, losses) and factors (K) on the learning rate."""

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
        if config.recompute and len(seeds) > 1:
            raise UsageError(f"recompute=true is for one member, and there are {len(seeds)} seeds.")
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
        self._stack_weights(problem.models)
        first = self._draw(0, 0)
        check(config, self.target, first)
        check_deterministic(self.target, first)
        self.plan = self._plan()
        self._runner = fold(self.plan, config, first)
        self.capacity = self._capacity(first)
        self.params = self._initial()
        self._moments()
        self._layouts: dict[torch.Size, Layout] = {}
        self._warm_up()
        self._step = compiled.CompiledStep(self._forward) if self._compiles() else self._forward

    # --- construction -------------------------------------------------------------------------------------

    def _stack_weights(self, models: Sequence[nn.Module]) -> None:
        """Several targets differ by their weights; a single one keeps them in the module."""
        self.weights: dict[str, Tensor] | None = None
        matrices = {name: w.expand(len(self.seeds), *w.shape) for name, w in self.target.matrices().items()}
        if len(models) > 1:
            states = [dict(m.named_parameters()) | dict(m.named_buffers()) for m in models]
            own = self.target.weights()
            self.weights = {k: torch.stack([s[k].detach().to(own[k]) for s in states]) for k in own}
            each = [self._matrices_of(k) for k in range(len(models))]
            matrices = {name: torch.stack([m[name] for m in each]) for name in each[0]}
        self.matrices = matrices

    def _matrices_of(self, member: int) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def record(site: Any, x: Any) -> Any:
            found[site.name] = site.matrix().clone()
            return site.original(x)

        weights = self.member_weights(member)
        with torch.no_grad():
            self.target(weights, self._draw(0, 0), dict.fromkeys(self.target.sites, record))
        return {name: found[name] for name in self.target.sites}

    def _plan(self) -> Plan:
        owners = parts.find_owners(self.matrices, self.config.tied)
        c = self.config
        return Plan(self.target, owners, c.gate, c.sigmoid, c.delta, c.compare, recompute=c.recompute)

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
                return torch.randn(shape, generator=_generator(seed, f"init/{name}"), dtype=self.dtype)

            own = {name: matrix[k].cpu() for name, matrix in self.matrices.items()}
            made = parts.init(self.shapes, own, self.plan.owners, self.config.init, draw)
            made |= {f"gate/{key}": v for key, v in gating.init(self.config.gate, self.shapes, draw).items()}
            members.append(made)
        return {
            key: torch.stack([m[key] for m in members]).to(self.device).requires_grad_() for key in members[0]
        }

    def _capacity(self, first: Tensor) -> int:
        usable = self.config.merge_zero_rows and first.ndim == 2 and first.is_floating_point()
        if not usable or not self._zero_is_silent(first):
            return 0
        needed = max(rows.rows_needed(self._draw(k, 0)) for k in range(len(self.seeds)))
        return needed if needed < 0.95 * len(first) else 0

    def _zero_is_silent(self, first: Tensor) -> bool:
        """All sites read zeros when the input is zero, so no mask can change the output there."""
        seen: list[bool] = []

        def record(site: Any, x: Tensor) -> Tensor:
            seen.append(not bool(x.any()))
            return site.original(x)

        with torch.no_grad():
            for k in range(len(self.seeds) if self.weights else 1):
                self.target(
                    self.member_weights(k),
                    torch.zeros_like(first[:1]),
                    dict.fromkeys(self.target.sites, record),
                )
        return all(seen)

    def _moments(self) -> None:
        gates = [v for k, v in self.params.items() if k.startswith("gate/")]
        own = [v for k, v in self.params.items() if not k.startswith("gate/")]
        decay = self.config.weight_decay
        groups = [{"params": own, "share": 1.0}, {"params": gates, "share": self.config.gate_lr}]
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, weight_decay=decay, fused=True)

    def _warm_up(self) -> None:
        warm = self.config.faithfulness_warmup
        own = [v for k, v in self.params.items() if not k.startswith("gate/")]
        optimizer = torch.optim.AdamW(own, lr=warm.lr, weight_decay=warm.weight_decay)
        n = sum(m[0].numel() for m in self.matrices.values())
        for _ in range(warm.steps):
            gaps = [m - _product(self.params, self.plan.owners, s) for s, m in self.matrices.items()]
            loss = (
                sum(((gap**2).sum() for gap in gaps), torch.zeros((), device=self.device, dtype=self.dtype))
                / n
            )
            for value, slope in zip(own, torch.autograd.grad(loss, own), strict=True):
                value.grad = slope
            optimizer.step()

    def _compiles(self) -> bool:
        wanted = self.config.compile
        if self.config.recompute:  # a compiled graph decides by itself what to keep
            return False
        return wanted == "always" or (
            wanted == "auto" and self.config.steps >= compiled.WORTH_STEPS and compiled.is_possible()
        )

    # --- one step -----------------------------------------------------------------------------------------

    def step(self, i: int) -> dict[str, Tensor]:
        """One optimizer step; the loss terms by name, one number per member."""
        self._set_rate(i)
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
        x, counts = self.batch(index)
        noise = self._noise(self.layout(x), index)
        extra = list(self.weights.values()) if self.weights else []
        knob = torch.tensor(progress, dtype=self.dtype, device=self.device)
        return self._step(x, counts, noise, self.coeffs, knob, *extra, *self.params.values())

    def _forward(
        self, x: Tensor, counts: Tensor, noise: Tensor, coeffs: Tensor, progress: Tensor, *rest: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses (K, terms) and gradients: the function that is compiled, on tensors alone."""
        keys = list(self.weights or {})
        weights, values = dict(zip(keys, rest, strict=False)), list(rest[len(keys) :])
        layout = self.layout(x)

        def member(
            x: Tensor, counts: Tensor, noise: Tensor, weights: dict[str, Tensor], params: dict[str, Tensor]
        ) -> Tensor:
            return self._terms(x, counts, self._split(layout, noise), weights or None, params, progress)

        params = dict(zip(self.params, values, strict=True))
        if len(self.seeds) == 1:
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
                rows=counts if self.capacity else None,
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

    # --- batches and random numbers -------------------------------------------------------------------------

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """(K, B, ...) and how many rows each row stands for."""
        drawn = [self._draw(k, index) for k in range(len(self.seeds))]
        if not self.capacity:
            x = torch.stack(drawn)
            return x, torch.ones(x.shape[:2], device=self.device, dtype=self.dtype)
        merged = [rows.merge_zero_rows(x, self.capacity) for x in drawn]
        size = max(len(x) for x, _ in merged)
        padded = [(_pad(x, size), _pad(c, size)) for x, c in merged]
        return torch.stack([x for x, _ in padded]), torch.stack([c for _, c in padded])

    def _draw(self, k: int, index: int) -> Tensor:
        x = self.sample(_generator(self.seeds[k], "data", index)).to(self.device)
        return x.to(self.dtype) if x.is_floating_point() else x

    def layout(self, x: Tensor) -> Layout:
        """Positions of every site for batches of this shape, found by one pass."""
        if x.shape not in self._layouts:
            with torch.no_grad():
                scene = observe(self._runner, self.member_weights(0), self.member(0), x[0])
            positions = {site: tuple(inner.shape[:-1]) for site, inner in scene.inner.items()}
            n = {site: inner.shape[-1] for site, inner in scene.inner.items()}
            self._layouts[x.shape] = Layout(positions, n, self.config.delta)
        return self._layouts[x.shape]

    def _wanted(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        wanted = (
            {f"jitter/{s}": (*layout.positions[s], layout.n[s]) for s in layout.n}
            if self.config.jitter
            else {}
        )
        for name, settings in self.config.losses.items():
            found = LOSSES[settings.kind].noise(settings, layout)
            wanted |= {f"{name}/{key}": shape for key, shape in found.items()}
        return wanted

    def _noise(self, layout: Layout, index: int) -> Tensor:
        """All uniform numbers of a step, one row per member.

        Each member and name has its own stream, so a batch with more rows gives the first rows the same numbers, and
        members of a stack, which share the longest batch, draw what they draw alone.
        """
        sizes = {name: _count(shape) for name, shape in self._wanted(layout).items()}
        noise = torch.empty(len(self.seeds), sum(sizes.values()), dtype=self.dtype)
        generator = torch.Generator()
        for row, seed in zip(noise, self.seeds, strict=True):
            for name, piece in zip(sizes, row.split(list(sizes.values())), strict=True):
                piece.uniform_(generator=generator.manual_seed(derive(seed, f"masks/{name}", index)))
        return noise.to(self.device)

    def _split(self, layout: Layout, noise: Tensor) -> dict[str, Tensor]:
        wanted = self._wanted(layout)
        pieces = noise.split([_count(shape) for shape in wanted.values()])
        return {
            name: piece.reshape(shape) for (name, shape), piece in zip(wanted.items(), pieces, strict=True)
        }

    # --- results ----------------------------------------------------------------------------------------------

    def member(self, k: int) -> dict[str, Tensor]:
        return {key: value[k].detach().clone() for key, value in self.params.items()}

    def decomposition(self, k: int) -> Decomposition:
        """Member k as an object of its own, on its own frozen copy of its target."""
        problem = self.problem
        model = problem.models[k if len(problem.models) > 1 else 0]
        copy = Target(model, problem.modules, identity=problem.identity, output=problem.output)
        copy.model.to(self.device, self.dtype)
        origin = {
            "modules": list(problem.modules),
            "identity": list(problem.identity),
            "output": problem.output,
        }
        return Decomposition(replace(self.plan, target=copy), self.member(k), self.config, origin)

    def member_weights(self, k: int) -> dict[str, Tensor] | None:
        return {key: value[k] for key, value in self.weights.items()} if self.weights else None

    def state(self) -> dict[str, Any]:
        moments = self.optimizer.state_dict()["state"]
        return {"params": {k: v.detach() for k, v in self.params.items()}, "moments": moments}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for key, value in state["params"].items():
                self.params[key].copy_(value)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state["moments"]})


def _generator(seed: int, name: str, *indices: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, name, *indices))


def _product(params: dict[str, Tensor], owners: dict[str, str], site: str) -> Tensor:
    v, u = parts.factors(params, owners, site)
    return v @ u


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _pad(x: Tensor, size: int) -> Tensor:
    return x if len(x) == size else torch.cat([x, x.new_zeros(size - len(x), *x.shape[1:])])
