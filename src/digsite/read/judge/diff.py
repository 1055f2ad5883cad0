"""What changed between two checkpoints of one shape, and is it a change of the function at all?

Tensors are read one at a time from both sides, so two models on disk are compared in the memory of their largest tensor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.read.core.correspondence import combine_p_values
from digsite.read.core.population import source_of, stack_models
from digsite.read.core.readers.spectra import as_matrices, singular_values
from digsite.read.judge.invariance import function_change
from digsite.read.judge.relation import (
    RELATED,
    NeuronMatch,
    TensorRelation,
    joint_distance,
    match_networks,
    relate_tensor,
)
from digsite.read.judge.traces import find_rounding
from digsite.read.subjects.network import Network, is_weight, network_of, refuse_not_finite
from digsite.weights.bundle import LazyTensors, WeightBundle, dtype_of, shape_of

_SIDE = 512  # matrices are thinned to this for their spectra; smaller ones are taken whole
_PIECE = 1 << 21  # numbers that are compared at once
_SMALL = 4_000_000  # weights up to which networks are also matched neuron by neuron


@dataclass(frozen=True)
class ModelDifference:
    """`p`: chance that networks trained apart agree as well about the numbering of their neurons."""

    layers: pd.DataFrame
    distance: float  # of the weights as they lie, over their norm
    matched: float  # after the best reordering of canonical forms; NaN where too large to be matched
    function: float  # of outputs on random inputs; NaN where not run
    verdict: str
    p: float = 1.0


def compare_checkpoints(first: object, second: object) -> ModelDifference:
    """What changed between two models of one shape, tensor by tensor and in one sentence.

    `first`, `second`: modules, dicts of tensors or weight bundles, in the order of time if there is one.
    """
    sides = _tensors_of_side(first), _tensors_of_side(second)
    _refuse_other_shapes(*sides)
    rows, relations = [], []
    gap = size = total = 0.0
    zeroed = altered = 0
    for name in sides[0]:
        x, y = (_read_floats(side, name) for side in sides)
        if not is_weight(name, x):
            continue
        x, y = x.float(), y.float()
        refuse_not_finite("the first model", name, x)
        refuse_not_finite("the second model", name, y)
        zeroed, altered = (n + more for n, more in zip((zeroed, altered), _count_changed(x, y)))
        relation = relate_tensor(name, x, y)
        relations.append(relation)
        norm = float(x.norm())
        gap += _absolute_gap(relation, norm) ** 2
        size += norm**2
        total += x.numel()
        if x.ndim > 1:
            rows.append(_describe_change(relation, x, y, norm))
        del x, y  # before the next two are read
    if not rows:
        raise UsageError("no weight matrix was found in these models: there is nothing to compare.")
    distance = float(np.sqrt(gap / max(size, 1e-300)))
    p = combine_p_values([t.p for t in relations if t.rank > 1])
    function = _function_change(first, second, total)
    networks = _as_networks(sides) if total <= _SMALL else None
    match = (
        match_networks(*networks, {k: k for k in networks[0].weights}) if networks and distance > 0 else None
    )
    matched = match.distance if match else (0.0 if distance == 0 else float("nan"))
    verdict = _say_what_changed(distance, networks, match, tuple(relations), p, function)
    if zeroed and not altered:
        verdict = f"pruned: {zeroed / total:.0%} of the weights set to zero, nothing else changed"
    return ModelDifference(pd.DataFrame(rows), distance, matched, function, verdict, p)


def _tensors_of_side(model: object) -> Mapping[str, Tensor]:
    """From a bundle they stay on disk."""
    return model.tensors if isinstance(model, WeightBundle) else source_of(model).tensors


def _count_changed(first: Tensor, second: Tensor) -> tuple[int, int]:
    """Entries that were set to zero, and entries that got another value."""
    zeroed = altered = 0
    for a, b in zip(first.flatten().split(_PIECE), second.flatten().split(_PIECE)):
        zeroed += int(((b == 0) & (a != 0)).sum())
        altered += int(((b != 0) & (b != a)).sum())
    return zeroed, altered


def _read_floats(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """In float32 without a copy beside it, where a file holds a shorter float."""
    kind = dtype_of(tensors, name)
    if isinstance(tensors, LazyTensors) and kind and kind.is_floating_point:
        return tensors.read_floats(name)
    return tensors[name].detach()


def _refuse_other_shapes(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """A difference is between equal places."""
    first_shapes, other = ({name: shape_of(side, name) for name in side} for side in (first, second))
    if first_shapes != other:
        odd = sorted(set(first_shapes.items()) ^ set(other.items()))[0][0]
        raise UsageError(
            f"the two models differ in shape, first at {odd!r}: only checkpoints of one shape compare.",
            hint="`digsite read FOLDER --lineage` relates models that share some of their shapes.",
        )


def _as_networks(sides: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> tuple[Network, Network]:
    return network_of("the first model", sides[0]), network_of("the second model", sides[1])


def _absolute_gap(relation: TensorRelation, norm: float) -> float:
    """Norm of the change of a tensor, from its distance over the joint norm."""
    other = norm * float(np.exp(relation.log_norm_ratio)) if relation.log_norm_ratio or norm else norm
    return relation.distance * float(np.hypot(norm, other)) if norm else relation.distance


def _describe_change(relation: TensorRelation, x: Tensor, y: Tensor, norm: float) -> dict[str, Any]:
    a, b = (_thin_sides(t) for t in (x, y))
    s_a, s_b = (singular_values(as_matrices(t[None]))[0] for t in (a, b))
    delta = singular_values(as_matrices((b.double() - a.double())[None]))[0].square()
    share = delta / delta.sum().clamp_min(1e-300)
    rank = float(torch.exp(-(share * share.clamp_min(1e-30).log()).sum())) if delta.sum() > 0 else 0.0
    return {
        "layer": relation.name,
        "relative_change": _absolute_gap(relation, norm) / max(norm, 1e-30),
        "cosine": relation.cosine,
        "rank_of_change": rank,
        "rank_full": len(delta),
        "spectrum_change": float((s_a - s_b).norm() / s_a.norm().clamp_min(1e-30)),
        "zeros_before": 1 - float(torch.count_nonzero(x)) / x.numel(),
        "zeros_after": 1 - float(torch.count_nonzero(y)) / y.numel(),
    }


def _thin_sides(weight: Tensor) -> Tensor:
    """At most 512 evenly spaced rows and columns: spectra of what is left show rank and change of rank."""
    flat = weight.flatten(1)
    for axis in (0, 1):
        if flat.shape[axis] > _SIDE:
            flat = flat.index_select(axis, torch.linspace(0, flat.shape[axis] - 1, _SIDE).long())
    return flat


def _function_change(first: object, second: object, total: float) -> float:
    """Outputs are compared where both are modules of a size that random inputs can be run through at once."""
    if not isinstance(first, nn.Module) or not isinstance(second, nn.Module) or total > _SMALL:
        return float("nan")
    a, b = stack_models([first]).groups[0], stack_models([second]).groups[0]
    return function_change(a, b, 0) if a.skeleton is not None else float("nan")


def _say_what_changed(
    distance: float,
    networks: tuple[Network, Network] | None,
    match: NeuronMatch | None,
    relations: tuple[TensorRelation, ...],
    p: float,
    function: float,
) -> str:
    """What was done, from the surest to the vaguest: nothing, other coordinates, rounding, some of each, training."""
    if distance == 0:
        return "identical weights"
    if match is not None and match.exact and not function > 1e-3:
        return "a mere re-parameterization: the same function in other coordinates"
    if networks:
        rounding = find_rounding(*networks, networks[0].matrices)
        if rounding is not None:
            return f"{rounding.kind}: {rounding.detail}, nothing else changed"
    if (
        match is not None
        and match.p < RELATED
        and match.moved > 0
        and match.distance < 0.5 * joint_distance(relations)
    ):
        return "changed, and partly in other coordinates"
    if p > RELATED and (match is None or match.p > RELATED) and len(relations) > 1:
        return "changed, and nothing tells the two from networks that were trained apart"
    return "changed"
