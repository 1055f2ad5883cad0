"""One moment of training seen from inside, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from digsite.track.core import capture
from digsite.track.core.mechanisms.attention import attention_specialization, head_distinctness
from digsite.track.core.mechanisms.change import activation_sparsity, weight_change
from digsite.track.core.mechanisms.filters import filter_similarity
from digsite.track.core.mechanisms.selectivity import activation_selectivity
from digsite.track.core.probe import Probe


@dataclass(frozen=True)
class Moment:
    """Numbers of a network at one step; `patterns` and `activations` are kept for pictures."""

    step: int
    numbers: dict[str, float]
    patterns: dict[str, Tensor] = field(default_factory=dict, repr=False)
    activations: dict[str, Tensor] = field(default_factory=dict, repr=False)


def look(
    model: nn.Module, probe: Probe, step: int, generator: torch.Generator, *, deep: bool = True
) -> Moment:
    """Loss, attention, sparsity and, when `deep`, selectivity of the last hidden layer and head ablations."""
    found = capture.targets(model, frozenset({"linear", "conv", "attention"}))
    captured, loss = probe.run(model, found, patterns=True)
    numbers = {} if loss is None else {"loss": loss}
    for name, pattern in captured.patterns.items():
        special = attention_specialization(pattern)
        numbers[f"{name}/specialization"] = special.index
        numbers[f"{name}/entropy"] = special.mean
        numbers[f"{name}/distinctness"] = head_distinctness(pattern)
    for name, table in captured.outputs.items():
        numbers[f"{name}/sparsity"] = activation_sparsity(table)
    if deep:
        numbers |= _selectivity(captured.outputs, probe, generator) | ablations(model, probe)
    return Moment(step, numbers, captured.patterns, captured.outputs)


def _selectivity(outputs: Mapping[str, Tensor], probe: Probe, generator: torch.Generator) -> dict[str, float]:
    """Of the last layer before the output whose rows are the probe's examples."""
    if probe.labels is None:
        return {}
    fitting = [name for name, table in outputs.items() if len(table) == len(probe.labels)]
    if len(fitting) < 2:
        return {}
    found = activation_selectivity(outputs[fitting[-2]], probe.labels, generator, draws=5)
    return {
        "selectivity/index": found.index - found.index_null,
        "selectivity/information": found.information - found.information_null,
    }


def ablations(model: nn.Module, probe: Probe) -> dict[str, float]:
    """How much the loss rises when one head's output is set to its mean over the probe, for each head."""
    base = probe.run(model, [])[1]
    found: dict[str, float] = {}
    for name, module in model.named_modules():
        heads, output = getattr(module, "n_heads", None), getattr(module, "o_proj", None)
        if not isinstance(heads, int) or not isinstance(output, nn.Linear) or base is None:
            continue
        for head in range(heads):
            with _silenced(output, head, heads):
                changed = probe.run(model, [])[1]
            found[f"{name}/ablate_head_{head}"] = float(changed or 0.0) - base
    return found


class _silenced:
    """Replaces one head's part of the output map's input by its mean."""

    def __init__(self, output: nn.Linear, head: int, heads: int) -> None:
        width = output.in_features // heads
        self.output, self.part = output, slice(head * width, (head + 1) * width)

    def __enter__(self) -> None:
        self._handle = self.output.register_forward_pre_hook(self._hook)

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _hook(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0].clone()
        part = x[..., self.part]
        x[..., self.part] = part.mean(tuple(range(part.ndim - 1)))
        return (x, *inputs[1:])


def difference(before: Moment, after: Moment) -> dict[str, float]:
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
    """Relative change and rank of the update, averaged over matrices; matched cosine of convolution filters."""
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
    return out
