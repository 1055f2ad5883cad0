"""Train K decompositions as one stacked program: of K targets, or of one target from K seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from digsite.base.errors import DigsiteError, UsageError
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import parts, program, setup, updates
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.draws import Draws, Sampler, make_generator
from digsite.decompose.core.gates import Shape
from digsite.decompose.core.masks import find_alive
from digsite.decompose.core.program import Program, fold_plan
from digsite.decompose.core.scene import Plan, observe_batch
from digsite.decompose.core.setup import check_problem, check_room, count_components
from digsite.decompose.core.target import Target, check_deterministic
from digsite.decompose.core.updates import Updates

__all__ = ["Fit", "Problem", "Sampler", "Vary"]
LOOKS = 4  # batches that are looked at, before components that no input uses are retired


@dataclass(frozen=True)
class Problem:
    """What is decomposed: one model, or K models of one architecture; the modules; where batches come from."""

    models: Sequence[nn.Module]
    modules: Sequence[str]
    sample: Sampler
    identity: Sequence[str] = ()
    output: str = ""

    def freeze_target(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> Target:
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
    """K decompositions in training: call `step(i)` for i in 0..steps-1, then read `make_decomposition(k)`."""

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
        self.target = problem.freeze_target(problem.models[0], self.device, dtype)
        coeffs = vary.coeffs if vary else torch.tensor([loss.coeff for loss in config.losses.values()])
        self.coeffs = coeffs.to(self.device, dtype).expand(len(seeds), -1).clone()
        self.draws = Draws(problem.sample, self.seeds, config, self.device, dtype)
        self.weights = program.stack_weights(self.target, problem.models)
        first = self.draws.draw_member(0, 0)
        self.matrices = program.stack_matrices(self.target, self.weights, len(seeds), first)
        check_problem(config, self.target, first)
        check_deterministic(self.target, first)
        if self._may_merge(first):
            self.draws.merge_from_now()
        plan = self._make_plan()
        self.shapes = self._count_shapes(plan)
        rates = vary.rates.to(self.device, dtype) if vary else None
        if config.compare == "relative":
            plan = replace(plan, unit=setup.measure_output_variance(self._gather_given(plan, 0)))
        self.updates = Updates(self._draw_first(plan), config, rates)
        names = list(self.weights or {}), list(self.params)
        self.program = Program(plan, fold_plan(plan, config, first), config, self.draws, names)
        own = {key: self.params[key] for key in parts.list_part_keys(self.params)}
        if config.faithful == "learned":
            parts.learn_to_add_up(own, self.matrices, plan.owners, config.faithfulness_warmup)
        self.program.choose_how(estimate_kept_bytes(self))

    # --- construction -------------------------------------------------------------------------------------

    def _make_plan(self) -> Plan:
        """What does not change from step to step."""
        owners = parts.find_owners(self.matrices, self.config.tied)
        c = self.config
        return Plan(
            self.target, owners, c.gate, c.sigmoid, c.delta, c.compare, recompute=c.recompute == "always"
        )

    def _count_shapes(self, plan: Plan) -> dict[str, Shape]:
        """Inputs, outputs and number of parts of each site; refused here where they would not fit into memory."""
        counts = count_components(self.config.C, list(self.target.sites), self.matrices)
        check_room(self.config, self.matrices, counts)
        return {n: Shape(m.shape[-2], m.shape[-1], counts[plan.owners[n]]) for n, m in self.matrices.items()}

    def _gather_given(self, plan: Plan, k: int) -> setup.Given:
        """What the first values of member k may look at."""
        weights = self.read_weights(k)
        return setup.Given(self.config, self.shapes, plan, weights, lambda i: self.draws.draw_member(k, i))

    def _draw_first(self, plan: Plan) -> dict[str, Tensor]:
        """First parameters of all members, stacked; each from its own streams, so a member alone begins the
        same.
        """
        members = []
        for k, seed in enumerate(self.seeds):

            def draw(name: str, *shape: int, seed: int = seed) -> Tensor:
                return torch.randn(shape, generator=make_generator(seed, f"init/{name}"), dtype=self.dtype)

            own = {name: matrix[k].cpu() for name, matrix in self.matrices.items()}
            members.append(setup.make_first_params(self._gather_given(plan, k), own, draw))
        return {
            key: torch.stack([m[key] for m in members]).to(self.device).requires_grad_() for key in members[0]
        }

    def _may_merge(self, first: Tensor) -> bool:
        """Rows of zeros give the same everywhere: they may be computed once where the target is silent on them."""
        if not self.config.merge_zero_rows or first.ndim != 2 or not first.is_floating_point():
            return False
        return program.is_silent_at_zero(self.target, self.weights, len(self.seeds), first)

    # --- one step -----------------------------------------------------------------------------------------

    def step(self, i: int) -> dict[str, Tensor]:
        """One optimizer step; the loss terms by name, one number per member."""
        if i and i == round(self.config.retire * self.config.steps):
            retire_unused(self)
        total: list[Tensor] | None = None
        terms = torch.zeros(())
        rank, size = updates.find_process()
        for j in range(self.config.accumulate):
            index = (i * self.config.accumulate + j) * size + rank
            losses, slopes = self.compute_gradients(
                *self.draws.draw_stack(index), index, i / self.config.steps
            )
            terms = terms.to(losses) + losses / self.config.accumulate
            share = [slope / self.config.accumulate for slope in slopes]
            total = share if total is None else [a + b for a, b in zip(total, share, strict=True)]
        assert total is not None
        updates.average_over_processes([terms, *total])
        self._check_finite(terms, i)
        self.updates.apply_slopes(total, i)
        return {name: terms[:, n] for n, name in enumerate(self.config.losses)}

    def compute_gradients(
        self, x: Tensor, counts: Tensor, index: int, progress: float
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses (K, terms) and slopes of all parameters on one batch."""
        return self.program.compute_gradients(
            (x, counts), self.coeffs, self.weights, self.params, index=index, progress=progress
        )

    def _check_finite(self, terms: Tensor, i: int) -> None:
        """The loss and the member that blew up are named: "loss is nan" helps nobody."""
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
        """What does not change from step to step."""
        return self.program.plan

    @property
    def params(self) -> dict[str, Tensor]:
        """(K, ...) by name."""
        return self.updates.params

    @property
    def is_compiled(self) -> bool:
        """Whether the step runs as one compiled graph."""
        return self.program.is_compiled

    def read_member(self, k: int) -> dict[str, Tensor]:
        """Parts and gates of member k, as they are stored."""
        own_params = {
            k_: v[k].detach().clone() for k_, v in self.params.items() if not k_.startswith("source/")
        }
        return parts.fold_mixing(own_params)

    def read_weights(self, k: int) -> dict[str, Tensor] | None:
        """The target's weights of member k; None where all members have one target."""
        return program.select_member(self.weights, k)

    def keep_members(self, members: Sequence[int]) -> None:
        """Only these members stay in the stack; what they become does not change."""
        index = torch.tensor(members, device=self.device)
        self.seeds = self.draws.seeds = [self.seeds[k] for k in members]
        if len(self.problem.models) > 1:
            self.problem = replace(self.problem, models=[self.problem.models[k] for k in members])
        self.weights = {k: v[index] for k, v in self.weights.items()} if self.weights else None
        self.coeffs = self.coeffs[index]
        self.updates = self.updates.select_members(index)

    def make_decomposition(self, k: int) -> Decomposition:
        """Member k as an object of its own."""
        models = self.problem.models
        return self.make_on_model(models[k if len(models) > 1 else 0], self.read_member(k))

    def make_on_model(self, model: nn.Module, params: dict[str, Tensor]) -> Decomposition:
        """A decomposition of `model`, on a frozen copy of its own."""
        problem = self.problem
        target = problem.freeze_target(model, self.device, self.dtype)
        target.replays = self.target.replays
        origin = {
            "modules": list(problem.modules),
            "identity": list(problem.identity),
            "output": problem.output,
        }
        return Decomposition(replace(self.plan, target=target), params, self.config, origin)

    def read_state(self) -> dict[str, Any]:
        """Everything a resumed training needs; random streams need nothing."""
        return self.updates.read_state()

    def load_state(self, state: dict[str, Any]) -> None:
        """What `read_state` gave."""
        self.updates.load_state(state)


# --- components that no input uses ---------------------------------------------------------------------------


@torch.no_grad()
def retire_unused(fit: Fit) -> None:
    """Set to zero, in place and for all members, the components that no input uses; the residual takes over.

    They carry next to nothing, but they point somewhere: left in, they win matches against what a component should
    look like. Zero is a fixed point of the step, so they stay out.
    """
    for owner, used in find_used_by_owner(fit).items():
        fit.updates.clear_where(f"{owner}/V", ~used[:, None])
        fit.updates.clear_where(f"{owner}/U", ~used[..., None])


def find_used_by_owner(fit: Fit) -> dict[str, Tensor]:
    """(K, C) by owner of parts: whether any site that shares them uses the component."""
    used: dict[str, Tensor] = {}
    for index in range(LOOKS):
        x, _ = fit.draws.draw_stack(index)
        for site, uses in find_used_in_batch(fit, x).items():
            owner = fit.plan.owners[site]
            used[owner] = used.get(owner, torch.zeros_like(uses)) | uses
    return used


def find_used_in_batch(fit: Fit, x: Tensor) -> dict[str, Tensor]:
    """Parts of each member that are important anywhere in its batch x (K, batch, ...)."""
    scenes = [observe_batch(fit.plan, fit.read_weights(k), fit.read_member(k), x[k]) for k in range(len(x))]
    return {
        site: torch.stack([find_alive(s.importance.lower[site]) for s in scenes])
        for site in fit.plan.target.sites
    }


# --- what one step keeps in memory for the way back -----------------------------------------------------------


def measure_kept_bytes(fit: Fit, x: Tensor, counts: Tensor) -> int:
    """Storage that autograd holds in one step; parameters and the target's weights left out."""
    own = [*fit.params.values(), *fit.target.list_weights().values(), *(fit.weights or {}).values()]
    ours = {value.untyped_storage().data_ptr() for value in own}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        fit.compute_gradients(x, counts, 0, 0.0)
    return sum(kept.values())


def estimate_kept_bytes(fit: Fit) -> float:
    """What a member's whole batch would keep, from two and four of its rows: the batch itself might not fit.

    Zero where a loss attacks: its inner gradients cannot be watched.
    """
    if any(loss.ATTACKS for loss in fit.config.losses.values()):
        return 0.0
    x, counts = (drawn[:1] for drawn in fit.draws.draw_stack(0))
    if x.shape[1] <= 4:
        return measure_kept_bytes(fit, x, counts)
    two, four = (measure_kept_bytes(fit, x[:, :n], counts[:, :n]) for n in (2, 4))
    return two + (four - two) / 2 * (x.shape[1] - 2)
