"""What one step computes of K members, from tensors alone so that it can be compiled: losses and slopes.

Also what makes it cheap: targets stacked, the step as one graph, frozen embeddings multiplied into the parts.
"""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.draws import Draws
from digsite.decompose.core.masks import Layout
from digsite.decompose.core.scene import Plan, Scene, observe_batch, run_frugally
from digsite.decompose.core.target import Products, Site, Target

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
        self._step: Step = self._compute_stack
        self.one_by_one = False

    def choose_how(self, needed: float) -> None:
        """Compiled or not, recomputing or not, stacked or one by one, by what a member keeps for its way back.

        A compiled graph decides by itself what to keep. Stacking saves calls, not arithmetic: on a CPU it loses once a
        member's step leaves the cache.
        """
        if self._wants_graph():
            self._step = CompiledStep(self._compute_stack)
        elif self.config.recompute == "auto" and needed > self.config.keep_gb * 1e9:
            self.plan, self.runner = (replace(plan, recompute=True) for plan in (self.plan, self.runner))
        on_cpu = self.draws.device.type == "cpu"
        self.one_by_one = self.plan.recompute or (on_cpu and needed > STACKED_MB * 1e6)

    def _wants_graph(self) -> bool:
        """Compiling takes a minute or so, which a short training never earns back."""
        wanted = self.config.compile
        if self.plan.recompute:
            return False
        return wanted == "always" or (wanted == "auto" and self.config.steps >= WORTH_STEPS and can_compile())

    @property
    def is_compiled(self) -> bool:
        """Whether the step runs as one compiled graph."""
        return isinstance(self._step, CompiledStep)

    def find_layout(self, x: Tensor, weights: Stacked | None, params: Stacked) -> Layout:
        """Positions of every site for a member's batch of this shape, found by one pass."""
        if x.shape not in self._layouts:
            with torch.no_grad():
                scene = observe_batch(self.runner, weights, params, x)
            positions = {site: tuple(inner.shape[:-1]) for site, inner in scene.inner.items()}
            n = {site: inner.shape[-1] for site, inner in scene.inner.items()}
            self._layouts[x.shape] = Layout(positions, n, self.config.delta)
        return self._layouts[x.shape]

    def compute_gradients(
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
        noise = self.draws.draw_noise(
            self.find_layout(x[0], select_member(weights, 0), {k: v[0] for k, v in params.items()}), index
        )
        knob = torch.tensor(progress, dtype=coeffs.dtype, device=coeffs.device)
        stacked = [x, counts, noise, coeffs, *(weights or {}).values(), *params.values()]
        if len(x) == 1 or not self.one_by_one:
            with warnings.catch_warnings():
                # An operation of somebody's model may have no batched form: slow, not wrong.
                warnings.filterwarnings("ignore", message="There is a performance drop")
                return self._step(knob, *stacked)
        each = [self._step(knob, *(value[k : k + 1] for value in stacked)) for k in range(len(x))]
        return torch.cat([terms for terms, _ in each]), [torch.cat(s) for s in zip(*(s for _, s in each))]

    def _compute_stack(
        self, progress: Tensor, x: Tensor, counts: Tensor, noise: Tensor, coeffs: Tensor, *rest: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The function that is compiled."""
        names, keys = self.names
        weights = dict(zip(names, rest[: len(names)], strict=True))
        params = dict(zip(keys, rest[len(names) :], strict=True))

        def member(x: Tensor, counts: Tensor, noise: Tensor, weights: Stacked, params: Stacked) -> Tensor:
            return self._compute_member(x, counts, noise, weights or None, params, progress)

        if len(x) == 1:
            first = ({k: v[0] for k, v in values.items()} for values in (weights, params))
            terms = member(x[0], counts[0], noise[0], *first)[None]
        else:
            terms = vmap(member)(x, counts, noise, weights, params)
        return terms.detach(), list(
            torch.autograd.grad((terms * coeffs).sum(), list(params.values()), materialize_grads=True)
        )

    def _compute_member(
        self,
        x: Tensor,
        counts: Tensor,
        noise: Tensor,
        weights: Stacked | None,
        params: Stacked,
        progress: Tensor,
    ) -> Tensor:
        """The loss terms of one member, before their coefficients."""
        drawn = self.draws.split_noise(self._layouts[x.shape], noise)
        jitter = {k.removeprefix("jitter/"): v for k, v in drawn.items() if k.startswith("jitter/")}
        rows = counts if self.draws.capacity else None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.autocast):
            scene = observe_batch(
                self.runner, weights, params, x, rows=rows, progress=progress, jitter=jitter or None
            )
            terms = [
                run_frugally(self.plan, self._compute_term, name, scene, drawn) for name in self.config.losses
            ]
            return torch.stack(terms)

    def _compute_term(self, name: str, scene: Scene, drawn: dict[str, Tensor]) -> Tensor:
        """One loss, with what was drawn for it."""
        own = {k.removeprefix(f"{name}/"): v for k, v in drawn.items() if k.startswith(f"{name}/")}
        prefix = f"source/{name}/"  # what an adversary keeps from step to step comes beside what is drawn
        own |= {
            f"source/{k.removeprefix(prefix)}": v for k, v in scene.params.items() if k.startswith(prefix)
        }
        return self.config.losses[name].compute(scene, own)


# --- the whole step (losses and gradients) as one compiled graph; without a compiler it runs as it is ---------

WORTH_STEPS = 1500  # compiling costs about as much as this many small steps save
COMMON = 20  # times that another shape must come before it is worth a graph of its own
Step = Callable[..., tuple[Tensor, list[Tensor]]]


def can_compile() -> bool:
    """On a CPU the compiler writes C++."""
    return torch.cuda.is_available() or any(shutil.which(name) for name in ("g++", "clang++", "cl"))


class CompiledStep:
    """Traces below the module level, so hooks, vmap and any model are fine; one graph per shape of batch."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._graphs: dict[tuple[torch.Size, ...], Step] = {}
        self._seen: Counter[tuple[torch.Size, ...]] = Counter()

    def __call__(self, *args: Tensor) -> tuple[Tensor, list[Tensor]]:
        """A graph per shapes; rare shapes (the last rows of a set) are not worth one."""
        key = tuple(arg.shape for arg in args)
        self._seen[key] += 1
        if key not in self._graphs:
            if self._graphs and self._seen[key] < COMMON:
                return self._step(*args)
            self._graphs[key] = compile_graph(self._step, args)
        with torch.no_grad():
            return self._graphs[key](*args)


def compile_graph(step: Step, args: Sequence[Tensor]) -> Callable[..., tuple[Tensor, list[Tensor]]]:
    """Gradients are part of the traced graph, so that the compiler fuses them with the way forward."""
    graph = make_fx(step)(*args)
    compiled = torch.compile(graph, fullgraph=True, dynamic=False)
    # One compiler process: a pool of workers would outlive a short run. The compiler's own deprecations are not ours.
    with torch._inductor.config.patch(compile_threads=1), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        compiled(*args)
    return compiled


# --- K targets of one architecture: their weights as stacked tensors ------------------------------------------

Stacked = dict[str, Tensor]


def stack_weights(target: Target, models: Sequence[nn.Module]) -> Stacked | None:
    """Several targets differ by their weights; a single one keeps them in the module."""
    if len(models) == 1:
        return None
    own = target.list_weights()
    states = [dict(m.named_parameters()) | dict(m.named_buffers()) for m in models]
    return {key: torch.stack([state[key].detach().to(own[key]) for state in states]) for key in own}


def select_member(weights: Stacked | None, k: int) -> Stacked | None:
    """Weights of one member; None where there is one target for all."""
    return {key: value[k] for key, value in weights.items()} if weights else None


def stack_matrices(target: Target, weights: Stacked | None, n: int, x: Any) -> Stacked:
    """(n, d_in, d_out) of every site."""
    if weights is None:
        return {name: matrix.expand(n, *matrix.shape) for name, matrix in target.list_matrices().items()}
    each = [record_matrices(target, select_member(weights, k), x) for k in range(n)]
    return {name: torch.stack([stacked[name] for stacked in each]) for name in target.sites}


@torch.no_grad()
def record_matrices(target: Target, weights: Stacked | None, x: Any) -> Stacked:
    """Every site's matrix as the target holds it, under member weights where vmap calls it."""
    stacked: Stacked = {}

    def record(site: Site, x: Any) -> Any:
        stacked[site.name] = site.get_matrix().clone()
        return site.answer_itself(x)

    target(weights, x, dict.fromkeys(target.sites, record))
    return stacked


@torch.no_grad()
def is_silent_at_zero(target: Target, weights: Stacked | None, n: int, x: Tensor) -> bool:
    """All sites read zeros when the input is zero, so no mask can change the output there."""
    seen: list[bool] = []

    def record(site: Site, x: Tensor) -> Tensor:
        seen.append(not bool(x.any()))
        return site.answer_itself(x)

    for k in range(n if weights else 1):
        target(select_member(weights, k), torch.zeros_like(x[:1]), dict.fromkeys(target.sites, record))
    return all(seen)


# --- frozen embeddings multiplied into the parts: a stream of 1,000 numbers is never written out --------------


class FoldedResidMlp(Target):
    """The same function as a residual MLP, with its stream as a sum of products (see `Products`)."""

    def __init__(self, target: Target) -> None:
        self.model, self.output, self.sites = target.model, target.output, target.sites
        self._plugs = {}
        self._runner = _Stream(target.model)

    def __call__(self, weights: Any, x: Any, plugs: Any = None, early: Any = None) -> Tensor:
        """The folded model under the target's own names of weights."""
        from torch.func import functional_call

        with self._plugged(plugs or {}):
            # The stream holds the same modules, under the prefix `inner`.
            named = None if weights is None else {f"inner.{key}": value for key, value in weights.items()}
            return self._runner(x, self) if named is None else functional_call(self._runner, named, (x, self))

    def answer_path(self, path: str, x: Any) -> Any:
        """What a module puts out: parts where it is masked, the target's own layer elsewhere."""
        site = self.sites.get(path)
        if site is not None and path in self._plugs:
            return self._plugs[path](site, x)
        weight: Any = self.model.get_submodule(path).weight.T
        return Products(((x, weight),)) if path.endswith("mlp_out") else x @ weight


class _Stream(nn.Module):
    """A residual MLP whose stream stays a sum of products while its layers run."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, owner: FoldedResidMlp) -> Tensor:
        """The outputs (batch, features); the stream itself, which is far wider, is never written to memory."""
        embedding: Any = self.inner.W_E
        stream = Products(((x, embedding),))
        for i, layer in enumerate(self.inner.layers):  # type: ignore[arg-type]
            hidden = layer.activate(owner.answer_path(f"layers.{i}.mlp_in", stream))
            stream = stream + owner.answer_path(f"layers.{i}.mlp_out", hidden)
        return stream @ embedding.T


def fold_plan(plan: Plan, config: DecomposeConfig, batch: Tensor) -> Plan:
    """The plan with a cheaper program for the same function, or the plan as it is."""
    if not config.fold or not can_fold(plan.target, config, batch):
        return plan
    deferred = frozenset(site for site in plan.target.sites if site.endswith("mlp_out"))
    return replace(plan, target=FoldedResidMlp(plan.target), deferred=deferred)


def can_fold(target: Target, config: DecomposeConfig, batch: Tensor) -> bool:
    """Where a wide stream through a narrow embedding costs more than it holds: then products are smaller."""
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
    return names_fit and not config.gate.NEEDS_INPUTS and "hidden_recon" not in kinds
