"""The same neurons in another order or scale: matched by what enters and leaves them, judged against the network itself."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.read.core.graph import Graph
from digsite.read.core.parts import Parts, canonical, parts_of
from digsite.read.core.population import Known, group
from digsite.read.subjects.network import Network

_LARGEST_MODEL, _LARGEST_LAYER = (
    4_000_000,
    1024,
)  # weights, neurons: matching grows with the cube of the latter
_EXACT = 1e-3


@dataclass(frozen=True)
class Match:
    """`moved`: share of neurons that changed places; `coordinates`: order, scale or sign, what had to be undone."""

    p: float
    distance: float
    moved: float
    coordinates: str
    share: float  # of neurons that are half as far from their partner as from any neuron of their own network
    spread: tuple[float, float] = (0.0, 0.0)  # of log (norm in / norm out) over neurons, for first and second

    @property
    def exact(self) -> bool:
        return self.distance < _EXACT


def match_networks(first: Network, second: Network, names: dict[str, str]) -> Match | None:
    """The best match over plain, rescaled and flipped coordinates; None where the graph cannot be read or is too large."""
    if first.size > _LARGEST_MODEL or len(names) < len(first.weights):
        return None
    found = []
    for coordinates, activation in (("order", ""), ("scale", "relu"), ("sign", "tanh")):
        try:
            one, other = (
                _member(n, activation)
                for n in (first.weights, {k: second.weights[j] for k, j in names.items()})
            )
        except (DigsiteError, RuntimeError, StopIteration, KeyError, IndexError):
            return None
        if any(n.kind == "hidden" and n.size > _LARGEST_LAYER for n in one.graph.nodes):
            return None
        found.append(_match(one, other, coordinates))
        if found[-1].exact:
            break
    return min(found, key=lambda m: (m.p > 1e-3, m.distance))


def _member(weights: dict[str, Tensor], activation: str):
    return group({k: t[None] for k, t in weights.items()}, np.arange(1), Known(activation))


def _match(one, other, coordinates: str) -> Match:
    graph: Graph = one.graph
    plain = [parts_of(g.graph, g.tensors) for g in (one, other)]
    first, second = (canonical(graph, p) for p in plain) if coordinates != "order" else plain
    second, orders = match_neurons(graph, first, second)
    near, count = 0, 0
    for node in orders:
        a, b = (_unit(_profile(graph, p, node)) for p in (first, second))
        own = a @ a.T
        own.fill_diagonal_(-1.0)
        near += int((1 - (a * b).sum(1) < (1 - own.amax(1)) / 2).sum())
        count += len(a)
    moved = [float((o != torch.arange(len(o))).double().mean()) for o in orders.values()]
    # A stranger's neuron is about as near as the nearest of one's own, seldom half as far: half of them is a high bar.
    p = float(binom.sf(near - 1, count, 0.5)) if count else 1.0
    gap = sum(float((x.double() - y.double()).square().sum()) for x, y in _sides(first, second))
    size = sum(float(x.double().square().sum() + y.double().square().sum()) for x, y in _sides(first, second))
    spread = _imbalance(graph, plain[0], orders), _imbalance(graph, plain[1], orders)
    return Match(
        p,
        (gap / max(size, 1e-300)) ** 0.5,
        float(np.mean(moved or [0.0])),
        coordinates,
        near / max(1, count),
        spread,
    )


def _sides(first: Parts, second: Parts) -> list[tuple[Tensor, Tensor]]:
    return list(zip([*first.weights, *first.bias], [*second.weights, *second.bias]))


def _imbalance(graph: Graph, parts: Parts, nodes) -> float:
    """Standard deviation over neurons of log (norm of what enters / norm of what leaves): training keeps it small."""
    found = []
    for node in nodes:
        enters = sum(
            w[0].square().sum((0, 2)) for w, b in zip(parts.weights, graph.blocks) if b.target == node
        )
        leaves = sum(
            w[0].square().sum((0, 1)) for w, b in zip(parts.weights, graph.blocks) if b.source == node
        )
        ratio = (
            torch.as_tensor(enters).clamp_min(1e-12) / torch.as_tensor(leaves).clamp_min(1e-12)
        ).log() / 2
        if ratio.ndim:
            found.append(float(ratio.std(unbiased=False)))
    return float(np.mean(found)) if found else 0.0


def match_neurons(graph: Graph, first: Parts, second: Parts) -> tuple[Parts, dict[int, Tensor]]:
    """`second` with each hidden set reordered to agree best with `first`; and the orders, by set.

    The first pass goes from the inputs on and looks at what enters a set alone, because what leaves it ends in sets
    that are not in order yet; two more passes look at both sides.
    """
    weights, bias, gain = list(second.weights), list(second.bias), list(second.gain)
    orders = {
        n: torch.arange(d.size)
        for n, d in enumerate(graph.nodes)
        if d.kind == "hidden" and _touched(graph, n)
    }
    for sweep in range(3):
        for node in orders:
            x = _profile(graph, first, node, entering_only=sweep == 0)
            y = _profile(graph, Parts(weights, bias, gain), node, entering_only=sweep == 0)
            order = torch.from_numpy(linear_sum_assignment(-(_unit(x) @ _unit(y).T).numpy())[1])
            for i, block in enumerate(graph.blocks):
                weights[i] = weights[i][:, :, order] if block.target == node else weights[i]
                weights[i] = weights[i][:, :, :, order] if block.source == node else weights[i]
            bias[node], gain[node] = bias[node][:, order], gain[node][:, order]
            orders[node] = orders[node][order]
    return Parts(weights, bias, gain), orders


def _touched(graph: Graph, node: int) -> bool:
    return any(node in (b.source, b.target) for b in graph.blocks)


def _profile(graph: Graph, parts: Parts, node: int, entering_only: bool = False) -> Tensor:
    """(neurons, numbers): what enters and what leaves each neuron, each side at unit root mean square."""
    enters = [
        w[0].transpose(0, 1).flatten(1) for w, b in zip(parts.weights, graph.blocks) if b.target == node
    ]
    leaves = [w[0].flatten(0, 1).T for w, b in zip(parts.weights, graph.blocks) if b.source == node]
    sides = enters or leaves if entering_only else [*enters, *leaves]
    scaled = [s.double() / s.double().square().mean().sqrt().clamp_min(1e-12) for s in sides]
    return torch.cat([*scaled, parts.bias[node][0].double()[:, None]], 1)


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
