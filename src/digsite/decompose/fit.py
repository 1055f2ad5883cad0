"""Train K decompositions as one stacked program: of K targets, or of one target from K seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import DigsiteError, UsageError
from digsite.decompose import gating, kept, parallel, parts, stacks
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.decomposition import Decomposition
from digsite.decompose.draws import Draws, Sampler, generator
from digsite.decompose.folding import fold
from digsite.decompose.gating import Shape
from digsite.decompose.program import Program
from digsite.decompose.retiring import retire
from digsite.decompose.scene import Plan
from digsite.decompose.setup import check, component_counts
from digsite.decompose.target import Target, check_deterministic
from digsite.decompose.updates import Updates

__all__ = ["Fit", "Problem", "Sampler", "Vary"]


@dataclass(frozen=True)
class Problem:
    """What is decomposed: one model, or K models of one architecture; the modules; where batches come from."""

    models: Sequence[nn.Module]
    modules: Sequence[str]
    sample: Sampler
    identity: Sequence[str] = ()
    output: str = ""

    def target(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> Target:
        """A frozen copy of a model, with its sites found."""
        made = Target(model, self.modules, identity=self.identity, output=self.output)
        made.model.to(device, dtype)
        return made


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
        self.config, self.seeds, self.problem = config, list(seeds), problem
        self.device, self.dtype = torch.device(device), dtype
        self.target = problem.target(problem.models[0], self.device, dtype)
        coeffs = vary.coeffs if vary else torch.tensor([loss.coeff for loss in config.losses.values()])
        self.coeffs = coeffs.to(self.device, dtype).expand(len(seeds), -1).clone()
        self.draws = Draws(problem.sample, self.seeds, config, self.device, dtype)
        self.weights = stacks.stack_weights(self.target, problem.models)
        first = self.draws.one(0, 0)
        self.matrices = stacks.stack_matrices(self.target, self.weights, len(seeds), first)
        check(config, self.target, first)
        check_deterministic(self.target, first)
        if self._may_merge(first):
            self.draws.make_room()
        plan = self._plan()
        self.shapes = self._shapes(plan)
        rates = vary.rates.to(self.device, dtype) if vary else None
        self.updates = Updates(self._initial(plan), config, rates)
        names = list(self.weights or {}), list(self.params)
        self.program = Program(plan, fold(plan, config, first), config, self.draws, names)
        own = {k: v for k, v in self.params.items() if not k.startswith("gate/")}
        parts.learn_to_add_up(own, self.matrices, plan.owners, config.faithfulness_warmup)
        self.program.choose_how(kept.expected_bytes(self))

    # --- construction -------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        owners = parts.find_owners(self.matrices, self.config.tied)
        c = self.config
        return Plan(
            self.target, owners, c.gate, c.sigmoid, c.delta, c.compare, recompute=c.recompute == "always"
        )

    def _shapes(self, plan: Plan) -> dict[str, Shape]:
        counts = component_counts(self.config.C, list(self.target.sites))
        return {n: Shape(m.shape[-2], m.shape[-1], counts[plan.owners[n]]) for n, m in self.matrices.items()}

    def _initial(self, plan: Plan) -> dict[str, Tensor]:
        members = []
        for k, seed in enumerate(self.seeds):

            def draw(name: str, *shape: int, seed: int = seed) -> Tensor:
                return torch.randn(shape, generator=generator(seed, f"init/{name}"), dtype=self.dtype)

            own = {name: matrix[k].cpu() for name, matrix in self.matrices.items()}
            made = parts.init(self.shapes, own, plan.owners, self.config.init, draw)
            made |= {f"gate/{key}": v for key, v in gating.init(self.config.gate, self.shapes, draw).items()}
            members.append(made)
        return {
            key: torch.stack([m[key] for m in members]).to(self.device).requires_grad_() for key in members[0]
        }

    def _may_merge(self, first: Tensor) -> bool:
        if not self.config.merge_zero_rows or first.ndim != 2 or not first.is_floating_point():
            return False
        return stacks.is_silent_at_zero(self.target, self.weights, len(self.seeds), first)

    # --- one step -----------------------------------------------------------------------------------------

    def step(self, i: int) -> dict[str, Tensor]:
        """One optimizer step; the loss terms by name, one number per member."""
        if i and i == round(self.config.retire * self.config.steps):
            retire(self)
        total: list[Tensor] | None = None
        terms = torch.zeros(())
        rank, size = parallel.place()
        for j in range(self.config.accumulate):
            index = (i * self.config.accumulate + j) * size + rank
            found, slopes = self.gradients(*self.draws.batch(index), index, i / self.config.steps)
            terms = terms.to(found) + found / self.config.accumulate
            share = [slope / self.config.accumulate for slope in slopes]
            total = share if total is None else [a + b for a, b in zip(total, share, strict=True)]
        assert total is not None
        parallel.average([terms, *total])
        self._check_finite(terms, i)
        self.updates.apply(total, i)
        return {name: terms[:, n] for n, name in enumerate(self.config.losses)}

    def gradients(
        self, x: Tensor, counts: Tensor, index: int, progress: float
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses (K, terms) and slopes of all parameters on one batch."""
        return self.program.gradients(
            (x, counts), self.coeffs, self.weights, self.params, index=index, progress=progress
        )

    def _check_finite(self, terms: Tensor, i: int) -> None:
        if torch.isfinite(terms).all():
            return
        member, term = (~torch.isfinite(terms)).nonzero()[0].tolist()
        raise DigsiteError(
            f"The loss '{list(self.config.losses)[term]}' of member {member} is not finite at step {i}.",
            hint="The last checkpoint is kept; try a smaller lr or clip=1.",
        )

    # --- results ----------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        return self.program.plan

    @property
    def params(self) -> dict[str, Tensor]:
        """(K, ...) by name."""
        return self.updates.params

    @property
    def is_compiled(self) -> bool:
        return self.program.is_compiled

    def member(self, k: int) -> dict[str, Tensor]:
        return {key: value[k].detach().clone() for key, value in self.params.items()}

    def member_weights(self, k: int) -> dict[str, Tensor] | None:
        return stacks.member(self.weights, k)

    def keep(self, members: Sequence[int]) -> None:
        """Only these members stay in the stack; what they become does not change."""
        index = torch.tensor(members, device=self.device)
        self.seeds = self.draws.seeds = [self.seeds[k] for k in members]
        if len(self.problem.models) > 1:
            self.problem = replace(self.problem, models=[self.problem.models[k] for k in members])
        self.weights = {k: v[index] for k, v in self.weights.items()} if self.weights else None
        self.coeffs = self.coeffs[index]
        self.updates = self.updates.of(index)

    def decomposition(self, k: int) -> Decomposition:
        """Member k as an object of its own."""
        models = self.problem.models
        return self.on(models[k if len(models) > 1 else 0], self.member(k))

    def on(self, model: nn.Module, params: dict[str, Tensor]) -> Decomposition:
        """A decomposition of `model`, on a frozen copy of its own."""
        problem = self.problem
        target = problem.target(model, self.device, self.dtype)
        origin = {
            "modules": list(problem.modules),
            "identity": list(problem.identity),
            "output": problem.output,
        }
        return Decomposition(replace(self.plan, target=target), params, self.config, origin)

    def state(self) -> dict[str, Any]:
        return self.updates.state()

    def load(self, state: dict[str, Any]) -> None:
        self.updates.load(state)
