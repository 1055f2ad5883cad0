"""Are two networks related, and how far apart are they? One p-value for a pair, and what each tensor says.

The p-value is the chance that two networks that were trained apart agree as well about the numbering of their hidden
neurons (`core/correspondence.py`). Where the numbering says nothing, neurons are matched first, and the matched pairs
are set against how alike the neurons *inside* of one network are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import bdtrc
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.read.core.correspondence import NumberingTest, agreement_of_tensors, combine_p_values
from digsite.read.core.graph import Graph, GraphWeights, to_canonical_form, weigh_graph
from digsite.read.core.population import Known, find_heads, group_networks
from digsite.read.judge.traces import find_rescaling
from digsite.read.subjects.network import Network, pair_names

# The same neurons in another order or scale: matched by what enters and leaves them, judged against the network itself.

_LARGEST_MODEL, _LARGEST_LAYER = (
    4_000_000,
    1024,
)  # weights, neurons: matching grows with the cube of the latter
_EXACT = 1e-3


@dataclass(frozen=True)
class NeuronMatch:
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


def match_networks(first: Network, second: Network, names: dict[str, str]) -> NeuronMatch | None:
    """The best match over plain, rescaled and flipped coordinates; None where the graph cannot be read or is too large."""
    if first.size > _LARGEST_MODEL or len(names) < len(first.weights):
        return None
    matches = []
    for coordinates, activation in (("order", ""), ("scale", "relu"), ("sign", "tanh")):
        try:
            own_group, other = (
                _as_group(weights, activation, network)
                for network, weights in (
                    (first, first.weights),
                    (second, {k: second.weights[j] for k, j in names.items()}),
                )
            )
        except (DigsiteError, RuntimeError, StopIteration, KeyError, IndexError):
            return None
        if any(n.is_hidden and n.size > _LARGEST_LAYER for n in own_group.graph.nodes):
            return None
        matches.append(_match_groups(own_group, other, coordinates))
        if matches[-1].exact:
            break
    return min(matches, key=lambda m: (m.p > 1e-3, m.distance))


def _as_group(weights: Mapping[str, Tensor], activation: str, network: Network):
    known = Known(activation, find_heads(network.config))
    return group_networks({k: t[None] for k, t in weights.items()}, np.arange(1), known)


def _match_groups(own_group, other, coordinates: str) -> NeuronMatch:
    graph: Graph = own_group.graph
    plain = [weigh_graph(g.graph, g.tensors) for g in (own_group, other)]
    first, second = (to_canonical_form(graph, p) for p in plain) if coordinates != "order" else plain
    second, orders = match_neurons(graph, first, second)
    near, count = 0, 0
    for node in orders:
        a, b = (_unit_rows(_profile_neurons(graph, p, node)) for p in (first, second))
        own = a @ a.T
        own.fill_diagonal_(-1.0)
        near += int((1 - (a * b).sum(1) < (1 - own.amax(1)) / 2).sum())
        count += len(a)
    moved = [float((o != torch.arange(len(o))).double().mean()) for o in orders.values()]
    # A stranger's neuron is about as near as the nearest of one's own, seldom half as far: half of them is a high bar.
    p = float(bdtrc(near - 1, count, 0.5)) if count else 1.0
    gap = sum(float((x.double() - y.double()).square().sum()) for x, y in _paired_numbers(first, second))
    size = sum(
        float(x.double().square().sum() + y.double().square().sum())
        for x, y in _paired_numbers(first, second)
    )
    spread = _measure_imbalance(graph, plain[0], orders), _measure_imbalance(graph, plain[1], orders)
    return NeuronMatch(
        p,
        (gap / max(size, 1e-300)) ** 0.5,
        float(np.mean(moved or [0.0])),
        coordinates,
        near / max(1, count),
        spread,
    )


def _paired_numbers(first: GraphWeights, second: GraphWeights) -> list[tuple[Tensor, Tensor]]:
    return list(zip([*first.weights, *first.bias], [*second.weights, *second.bias]))


def _measure_imbalance(graph: Graph, parts: GraphWeights, nodes) -> float:
    """Standard deviation over neurons of log (norm of what enters / norm of what leaves): training keeps it small."""
    imbalances = []
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
            imbalances.append(float(ratio.std(unbiased=False)))
    return float(np.mean(imbalances)) if imbalances else 0.0


def match_neurons(
    graph: Graph, first: GraphWeights, second: GraphWeights
) -> tuple[GraphWeights, dict[int, Tensor]]:
    """`second` with each hidden set reordered to agree best with `first`; and the orders, by set.

    The first pass goes from the inputs on and looks at what enters a set alone, because what leaves it ends in sets
    that are not in order yet; two more passes look at both sides.
    """
    weights, bias, gain = list(second.weights), list(second.bias), list(second.gain)
    orders = {
        n: torch.arange(d.size) for n, d in enumerate(graph.nodes) if d.is_hidden and _is_touched(graph, n)
    }
    for sweep in range(3):
        for node in orders:
            x = _profile_neurons(graph, first, node, entering_only=sweep == 0)
            y = _profile_neurons(graph, GraphWeights(weights, bias, gain), node, entering_only=sweep == 0)
            order = torch.from_numpy(linear_sum_assignment(-(_unit_rows(x) @ _unit_rows(y).T).numpy())[1])
            for i, block in enumerate(graph.blocks):
                weights[i] = weights[i][:, :, order] if block.target == node else weights[i]
                weights[i] = weights[i][:, :, :, order] if block.source == node else weights[i]
            bias[node], gain[node] = bias[node][:, order], gain[node][:, order]
            orders[node] = orders[node][order]
    return GraphWeights(weights, bias, gain), orders


def _is_touched(graph: Graph, node: int) -> bool:
    return any(node in (b.source, b.target) for b in graph.blocks)


def _profile_neurons(graph: Graph, parts: GraphWeights, node: int, entering_only: bool = False) -> Tensor:
    """(neurons, numbers): what enters and what leaves each neuron, each side at unit root mean square."""
    enters = [
        w[0].transpose(0, 1).flatten(1) for w, b in zip(parts.weights, graph.blocks) if b.target == node
    ]
    leaves = [w[0].flatten(0, 1).T for w, b in zip(parts.weights, graph.blocks) if b.source == node]
    sides = enters or leaves if entering_only else [*enters, *leaves]
    scaled = [s.double() / s.double().square().mean().sqrt().clamp_min(1e-12) for s in sides]
    return torch.cat([*scaled, parts.bias[node][0].double()[:, None]], 1)


def _unit_rows(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)


RELATED = 0.05
_CHEAP, _ALIKE = (
    20_000,
    0.05,
)  # weights up to which matching is always tried; gap of sorted norms up to which it is
_PART = 4_000_000  # entries that are turned to float64 at a time
_SAME = 1e-5  # relative distance up to which rounding is not told from equality


@dataclass(frozen=True)
class TensorRelation:
    """What one tensor says: distance over the joint norm, cosine, the test of its numbering, exact equality."""

    name: str
    size: int
    distance: float
    cosine: float
    p: float
    equal: bool
    log_norm_ratio: float  # log |second| - log |first|
    rank: int = 2  # axes of the tensor


@dataclass(frozen=True)
class Relation:
    """`how`: direct (as numbered), matched (in another order or scale), excluded (no common shape), none."""

    how: str
    p: float
    distance: float  # over all tensors that the two share, after matching where that was needed
    tensors: tuple[TensorRelation, ...]
    match: NeuronMatch | None = None
    reason: str = ""
    rescaled: bool = False  # equal but for factors of rows and columns: the distance is then as good as zero

    @property
    def related(self) -> bool:
        return self.how in ("direct", "matched") and self.p < RELATED


def relate_networks(first: Network, second: Network, search: bool = True) -> Relation:
    """Are two networks related? Their tensors as numbered first, then neurons matched, then the reason why not.

    `search`: also look for the same neurons in another order, which costs more than all the rest.
    """
    names = pair_names(first, second)
    common = [k for k in names if first.weights[k].ndim > 1]
    if not common:
        return Relation("excluded", 1.0, 1.0, (), reason=_why_excluded(first, second))
    tensors = tuple(relate_tensor(k, first.weights[k], second.weights[j]) for k, j in names.items())
    p = combine_p_values([t.p for t in tensors if first.weights[t.name].ndim > 1])
    distance = joint_distance(tensors)
    direct = p < RELATED or distance < _SAME
    if (
        direct
        and distance > 0.05
        and names.keys() == first.weights.keys()
        and find_rescaling(first, second, common, names)
    ):
        return Relation("direct", p, 0.01, tensors, rescaled=True)
    if not search or (direct and not _looks_reordered(p, tensors)):
        return Relation("direct" if direct else "none", _floor_for_copies(p, distance), distance, tensors)
    if first.size > _CHEAP and order_free_gap(first, second, names) > _ALIKE:
        match = None  # neurons of other norms altogether: no order makes them the same ones
    else:
        match = match_networks(first, second, names)
    if match is not None and match.p < RELATED and (not direct or match.distance < 0.5 * distance):
        return Relation("matched", match.p, match.distance, tensors, match)
    if direct:
        return Relation("direct", _floor_for_copies(p, distance), distance, tensors)
    reason = "one matrix only: nothing in it is numbered freely" if len(common) == 1 else ""
    return Relation("none", min(1.0, 2 * min(p, match.p if match else 1.0)), distance, tensors, match, reason)


def order_free_gap(first: Network, second: Network, names: dict[str, str]) -> float:
    """How far the sorted norms of rows and of columns differ, over their size: nothing for a copy in another order.

    Cheap next to matching, and it rules out most strangers. `names` pairs tensors of the two.
    """
    gaps = []
    for k, j in names.items():
        a, b = first.weights[k], second.weights[j]
        if a.ndim > 1:
            for axis in (0, 1):
                x, y = (t.transpose(0, axis).flatten(1).norm(dim=1).sort().values for t in (a, b))
                gaps.append(float((x - y).norm() / x.norm().clamp_min(1e-12)))
    return sum(gaps) / max(1, len(gaps))


def _looks_reordered(p: float, tensors: tuple[TensorRelation, ...]) -> bool:
    """Related only just, or in some tensors and not at all in others: perhaps only some neurons have other numbers."""
    foreign = [t for t in tensors if t.size > 64 and t.distance > 0.6 and abs(t.cosine) < 0.3]
    return p > 1e-6 or len(foreign) > 1


def _floor_for_copies(p: float, distance: float) -> float:
    """Equal files are related, also where the test has no axis to work along."""
    return min(p, 1e-12) if distance < _SAME else p


def relate_tensor(name: str, first: torch.Tensor, second: torch.Tensor) -> TensorRelation:
    """Distance, cosine and test of two tensors of one shape, summed in parts, so that little memory is needed beside them.

    The test runs along hidden axes; vectors have none, so theirs is always 1.
    """
    own_norm = other = both = gap = 0.0
    for a, b in zip(first.flatten().split(_PART), second.flatten().split(_PART)):
        x, y = a.double(), b.double()
        own_norm, other = own_norm + float(x @ x), other + float(y @ y)
        both, gap = both + float(x @ y), gap + float((x - y).square().sum())
    norms, joint = (own_norm**0.5, other**0.5), (own_norm + other) ** 0.5
    distance = gap**0.5 / joint if joint else 0.0
    cosine = both / (norms[0] * norms[1]) if min(norms) else 0.0
    ratio = math.log(norms[1] / norms[0]) if min(norms) else 0.0
    agreement = agreement_of_tensors(first, second) if first.ndim > 1 else NumberingTest(0.0, 1.0)
    return TensorRelation(
        name, first.numel(), distance, cosine, agreement.p, distance == 0.0, ratio, first.ndim
    )


def joint_distance(tensors: tuple[TensorRelation, ...]) -> float:
    """Root mean square over the weights of all tensors, each tensor's gap over its own norm: no layer drowns the others."""
    size = sum(t.size for t in tensors)
    return float((sum(t.size * t.distance**2 for t in tensors) / max(1, size)) ** 0.5)


def _why_excluded(first: Network, second: Network) -> str:
    shapes = [{tuple(t.shape) for t in n.weights.values() if t.ndim > 1} for n in (first, second)]
    common = len(shapes[0] & shapes[1])
    return (
        f"different architectures: no matrix of '{first.name}' ({len(first.matrices)} matrices, {first.size:,} weights) has its "
        f"counterpart by name and shape in '{second.name}' ({len(second.matrices)}, {second.size:,}); {common} shapes in common"
    )
