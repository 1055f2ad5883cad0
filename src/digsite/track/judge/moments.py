"""One moment of training seen from inside, what changed between two of them, and which steps to keep weights at for that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.track.core.jumps import Jump
from digsite.track.core.mechanisms import (
    activation_selectivity,
    activation_sparsity,
    attention_specialization,
    filter_overlap,
    filter_similarity,
    head_distinctness,
    weight_change,
)
from digsite.track.core.probe import Probe, targets


@dataclass(frozen=True)
class Moment:
    """Numbers of a network at one step; `patterns` and `activations` are kept for pictures."""

    step: int
    numbers: dict[str, float]
    patterns: dict[str, Tensor] = field(default_factory=dict, repr=False)
    activations: dict[str, Tensor] = field(default_factory=dict, repr=False)


def look_at_moment(
    model: nn.Module, probe: Probe, step: int, generator: torch.Generator, *, deep: bool = True
) -> Moment:
    """Loss, attention, sparsity and, when `deep`, selectivity of the last hidden layer and head ablations."""
    layers = targets(model, frozenset({"linear", "conv", "attention"}))
    captured, loss = probe.run(model, layers, patterns=True)
    numbers = {} if loss is None else {"loss": loss}
    for name, pattern in captured.patterns.items():
        special = attention_specialization(pattern)
        numbers[f"{name}/specialization"] = special.index
        numbers[f"{name}/entropy"] = special.mean
        numbers[f"{name}/distinctness"] = head_distinctness(pattern)
    for name, table in captured.outputs.items():
        numbers[f"{name}/sparsity"] = activation_sparsity(table)
    if deep:
        numbers |= _last_selectivity(captured.outputs, probe, generator) | ablate_heads(model, probe)
    return Moment(step, numbers, captured.patterns, captured.outputs)


def _last_selectivity(
    outputs: Mapping[str, Tensor], probe: Probe, generator: torch.Generator
) -> dict[str, float]:
    """Of the last layer before the output whose rows are the probe's examples."""
    if probe.labels is None:
        return {}
    fitting = [name for name, table in outputs.items() if len(table) == len(probe.labels)]
    if len(fitting) < 2:
        return {}
    selectivity = activation_selectivity(outputs[fitting[-2]], probe.labels, generator, draws=5)
    return {
        "selectivity/index": selectivity.index - selectivity.index_null,
        "selectivity/information": selectivity.information - selectivity.information_null,
    }


def ablate_heads(model: nn.Module, probe: Probe) -> dict[str, float]:
    """How much the loss rises when one head's output is set to its mean over the probe, for each head."""
    base = probe.run(model, [])[1]
    losses: dict[str, float] = {}
    for name, module in model.named_modules():
        heads, output = getattr(module, "n_heads", None), getattr(module, "o_proj", None)
        if not isinstance(heads, int) or not isinstance(output, nn.Linear) or base is None:
            continue
        for head in range(heads):
            with _silenced(output, head, heads):
                changed = probe.run(model, [])[1]
            losses[f"{name}/ablate_head_{head}"] = float(changed or 0.0) - base
    return losses


class _silenced:
    """Replaces one head's part of the output map's input by its mean."""

    def __init__(self, output: nn.Linear, head: int, heads: int) -> None:
        width = output.in_features // heads
        self.output, self.part = output, slice(head * width, (head + 1) * width)

    def __enter__(self) -> None:
        """From here on the part is at its mean."""
        self._handle = self.output.register_forward_pre_hook(self._hook)

    def __exit__(self, *error: object) -> None:
        """And itself again."""
        self._handle.remove()

    def _hook(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Replaced by its mean: zero would be a value that later layers have never seen."""
        x = inputs[0].clone()
        part = x[..., self.part]
        x[..., self.part] = part.mean(tuple(range(part.ndim - 1)))
        return (x, *inputs[1:])


def moment_difference(before: Moment, after: Moment) -> dict[str, float]:
    """After minus before, averaged over places: specialization, entropy, distinctness, sparsity, loss ..."""
    shared = before.numbers.keys() & after.numbers.keys()
    groups: dict[str, list[float]] = {}
    for name in sorted(shared):
        key = name.rpartition("/")[2] if not name.startswith("selectivity") else name
        if not key.startswith("ablate"):
            groups.setdefault(key, []).append(after.numbers[name] - before.numbers[name])
    return {key: sum(values) / len(values) for key, values in groups.items()}


def weights_moved(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], generator: torch.Generator
) -> dict[str, float]:
    """Relative change and rank of the update, averaged over matrices; matched cosine of convolution filters, and how their
    overlap with each other changed."""
    changes = [weight_change(before[n], after[n]) for n in before if before[n].ndim > 1]
    filters = [
        filter_similarity(before[n], after[n], generator, draws=3) for n in before if before[n].ndim == 4
    ]
    out = {
        "relative_weight_change": sum(c.relative for c in changes) / max(len(changes), 1),
        "update_stable_rank": sum(c.update_stable_rank for c in changes) / max(len(changes), 1),
    }
    if filters:
        out["filter_cosine"] = sum(f.matched for f in filters) / len(filters)
        out["filter_cosine_null"] = sum(f.null for f in filters) / len(filters)
        shifts = [filter_overlap(after[n]) - filter_overlap(before[n]) for n in before if before[n].ndim == 4]
        out["filter_overlap"] = sum(shifts) / len(shifts)
    return out


# Which steps to keep weights at: a log-then-linear backbone and brackets around confirmed jumps.


@dataclass(frozen=True)
class Bracket:
    """Steps before, during and after one jump."""

    jump_step: float
    layer: str
    before: int
    during: int
    after: int


@dataclass(frozen=True)
class CheckpointPlan:
    """All times are training steps. `dropped` jumps did not fit into the budget."""

    steps: tuple[int, ...]
    backbone: tuple[int, ...]
    brackets: tuple[Bracket, ...]
    dropped: int
    total_bytes: int

    def as_json(self) -> dict[str, Any]:
        """For whoever trains again with these steps kept."""
        return {"unit": "training steps"} | asdict(self)


def log_then_linear(total: int, linear_every: int) -> list[int]:
    """0, 1, 2, 4 ... up to the spacing, then multiples of it, and the last step."""
    doubling = [0, *(2**k for k in range(max(int(math.log2(max(linear_every, 1))), 0) + 1))]
    return sorted(
        {s for s in (*doubling, *range(linear_every, total + 1, linear_every), total) if s <= total}
    )


@public_method()
def plan_checkpoints(
    jumps: Sequence[Jump | tuple[str, Jump]],
    total_steps: int,
    *,
    backbone: int = 20,
    max_q: float = 0.05,
    checkpoint_bytes: int = 0,
    budget_bytes: int | None = None,
) -> CheckpointPlan:
    """Backbone of about `backbone` linear steps; confirmed jumps get three steps each, by q and then by size.

    `jumps` may carry their layer; those of q up to `max_q` count. `total_steps` is the training's length; with
    `checkpoint_bytes` each, no more are planned than fit into `budget_bytes`.
    """
    if total_steps < 1:
        raise UsageError(f"A run of {total_steps} steps has nothing to keep.")
    spine = log_then_linear(total_steps, max(total_steps // backbone, 1))
    room = len(spine) if budget_bytes is None or checkpoint_bytes <= 0 else budget_bytes // checkpoint_bytes
    limited = budget_bytes is not None and checkpoint_bytes > 0
    if limited and room < 2:
        raise UsageError(
            f"A budget of {budget_bytes} bytes holds {room} checkpoints of {checkpoint_bytes} bytes; two are needed."
        )
    spine = _thin_steps(spine, room) if limited else spine
    named = [j if isinstance(j, tuple) else ("", j) for j in jumps]
    confirmed = [(layer, j) for layer, j in named if j.q is None or j.q <= max_q]
    confirmed.sort(key=lambda pair: (pair[1].q or 0.0, -abs(pair[1].relative_change)))
    steps, brackets = set(spine), []
    for layer, jump in confirmed:
        bracket = _bracket_jump(layer, jump, total_steps)
        wanted = steps | {bracket.before, bracket.during, bracket.after}
        if limited and len(wanted) > room:
            continue
        steps = wanted
        brackets.append(bracket)
    ordered = tuple(sorted(brackets, key=lambda b: b.jump_step))
    kept = tuple(sorted(steps))
    return CheckpointPlan(
        kept, tuple(spine), ordered, len(confirmed) - len(brackets), len(kept) * checkpoint_bytes
    )


def _bracket_jump(layer: str, jump: Jump, total: int) -> Bracket:
    """The interval of the jump's place, widened by half its duration: before is surely before."""
    reach = max(jump.width / 2, 1.0)
    before = math.floor(min(jump.low, jump.step - reach))
    after = math.ceil(max(jump.high, jump.step + reach))
    clip = lambda step: min(max(step, 0), total)  # noqa: E731
    return Bracket(jump.step, layer, clip(before), clip(round(jump.step)), clip(after))


def _thin_steps(steps: list[int], room: int) -> list[int]:
    """Half of the budget at most, first and last always among them, evenly in rank."""
    keep = max(min(len(steps), room // 2), 2)
    return sorted({steps[round(i * (len(steps) - 1) / (keep - 1))] for i in range(keep)})
