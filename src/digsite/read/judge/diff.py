"""What changed between two checkpoints of one shape, and is it a change of the function at all?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.read.core.graph import Graph
from digsite.read.core.parts import Parts, canonical, parts_of
from digsite.read.core.population import Group, population
from digsite.read.core.readers.spectra import matrix, singular_values
from digsite.read.judge.invariance import function_change

SAME = 1e-4


@dataclass(frozen=True)
class Difference:
    layers: pd.DataFrame
    distance: float  # of the weights as they lie, over their norm
    matched: float  # after the best reordering of canonical forms
    function: float  # of outputs on random inputs; NaN where not run
    verdict: str


def diff(first: object, second: object) -> Difference:
    a, b = population([first]).groups[0], population([second]).groups[0]
    shapes = [{k: tuple(t.shape) for k, t in g.tensors.items()} for g in (a, b)]
    if shapes[0] != shapes[1]:
        odd = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))[0][0]
        raise UsageError(
            f"the two models differ in shape, first at {odd!r}: only checkpoints of one shape compare."
        )
    function = function_change(a, b, 0) if a.skeleton is not None else float("nan")
    raw = _distance([a.tensors[k] for k in a.tensors], [b.tensors[k] for k in a.tensors])
    matched = _matched_distance(a, b)
    return Difference(_layers(a, b), raw, matched, function, _verdict(raw, matched, function))


def _verdict(raw: float, matched: float, function: float) -> str:
    if raw == 0:
        return "identical weights"
    if matched < SAME and not function > 1e-3:
        return "a mere re-parameterization: the same function in other coordinates"
    if matched < 0.9 * raw:
        return "changed, and partly in other coordinates"
    return "changed"


def _layers(a: Group, b: Group) -> pd.DataFrame:
    rows = []
    for name in dict.fromkeys(n for block in a.graph.blocks for n in block.tensors):
        x, y = a.tensors[name].double(), b.tensors[name].double()
        s_x, s_y = singular_values(matrix(x))[0], singular_values(matrix(y))[0]
        delta = singular_values(matrix(y - x))[0].square()
        share = delta / delta.sum().clamp_min(1e-300)
        rank = float(torch.exp(-(share * share.clamp_min(1e-30).log()).sum())) if delta.sum() > 0 else 0.0
        rows.append(
            {
                "layer": name,
                "relative_change": _distance([x], [y]),
                "cosine": float((x * y).sum() / (x.norm() * y.norm()).clamp_min(1e-30)),
                "rank_of_change": rank,
                "rank_full": len(delta),
                "spectrum_change": float((s_x - s_y).norm() / s_x.norm().clamp_min(1e-30)),
                "zeros_before": float((x == 0).double().mean()),
                "zeros_after": float((y == 0).double().mean()),
            }
        )
    return pd.DataFrame(rows)


def _distance(xs: list[Tensor], ys: list[Tensor]) -> float:
    gap = sum(float((x.double() - y.double()).square().sum()) for x, y in zip(xs, ys))
    size = sum(float(x.double().square().sum()) for x in xs)
    return float(np.sqrt(gap / max(size, 1e-300)))


def _matched_distance(a: Group, b: Group) -> float:
    """Distance of canonical forms after matching the neurons of each hidden set in turn."""
    first, second = (canonical(g.graph, parts_of(g.graph, g.tensors)) for g in (a, b))
    second = align(a.graph, first, second)
    return _distance([*first.weights, *first.bias], [*second.weights, *second.bias])


def align(graph: Graph, first: Parts, second: Parts) -> Parts:
    """`second` with each hidden set reordered to agree best with `first`, inputs to outputs, then once more."""
    weights, bias, gain = list(second.weights), list(second.bias), list(second.gain)
    for _ in range(2):
        for node, described in enumerate(graph.nodes):
            if described.kind != "hidden":
                continue
            x = _profile(graph, first.weights, first.bias, node)
            y = _profile(graph, weights, bias, node)
            order = torch.from_numpy(linear_sum_assignment(-(x @ y.T).numpy())[1])
            for i, block in enumerate(graph.blocks):
                weights[i] = weights[i][:, :, order] if block.target == node else weights[i]
                weights[i] = weights[i][:, :, :, order] if block.source == node else weights[i]
            bias[node], gain[node] = bias[node][:, order], gain[node][:, order]
    return Parts(weights, bias, gain)


def _profile(graph: Graph, weights: list[Tensor], bias: list[Tensor], node: int) -> Tensor:
    """(neurons, numbers): what enters and what leaves each neuron."""
    rows = [w[0].transpose(0, 1).flatten(1) for w, b in zip(weights, graph.blocks) if b.target == node]
    rows += [w[0].flatten(0, 1).T for w, b in zip(weights, graph.blocks) if b.source == node]
    return torch.cat([*rows, bias[node][0][:, None]], 1).double()
