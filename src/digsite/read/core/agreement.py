"""What the networks of a zoo agree on: the end-to-end map they share, its directions, and each input's spread.

An end-to-end map is what a network would compute without its nonlinearities: its weights multiplied through.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from digsite.read.core.graph import Graph, GraphWeights, to_canonical_form, weigh_graph
from digsite.read.core.population import NetworkGroup, Population

N_COMPONENTS = 40
MOST_SQUARED = 2000  # numbers of a map whose Gram matrix is still small
MIN_INPUTS = 8  # fewer inputs (the channels of an image) have no map worth comparing


@dataclass(frozen=True)
class ZooAgreement:
    """Learned from training members of one input and output size."""

    template: Tensor  # (outputs, inputs), unit norm: the quality-weighted mean map
    components: Tensor  # (k, outputs * inputs): principal maps
    first_basis: Tensor  # (inputs, inputs): directions of the first layer, strongest first
    map_basis: Tensor  # (inputs, inputs): directions of the end-to-end maps
    center: Tensor  # (outputs, inputs): median map
    spread: Tensor  # (outputs, inputs): its robust spread
    column_center: Tensor  # (inputs,): median log norm of an input's first weights
    column_spread: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """For the reader's file."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Maps:
    """One group's end-to-end maps and first-layer weights."""

    raw: Tensor  # (members, outputs, inputs), centered over outputs
    unit: Tensor
    first: Tensor  # (members, rows, inputs)


def map_group(group: NetworkGroup, in_canonical_form: bool = True) -> Maps | None:
    """End-to-end maps of a group of networks of one shape; None where inputs or outputs have no set, or inputs are few.

    `in_canonical_form`: with free scales and signs fixed first, as tasks about the function want it; recipe tasks
    look at the weights as they lie.
    """
    parts = weigh_graph(group.graph, group.tensors)
    parts = to_canonical_form(group.graph, parts) if in_canonical_form else parts
    maps = end_to_end(group.graph, parts)
    if maps is None or maps.shape[2] < MIN_INPUTS:
        return None
    raw, unit = center_maps(maps)
    source = next(i for i, n in enumerate(group.graph.nodes) if n.is_input)
    first = next(w for w, b in zip(parts.weights, group.graph.blocks) if b.source == source)
    return Maps(raw, unit, first.double().flatten(1, 2))


def size_key(maps: Maps) -> str:
    """ "64x10": inputs by outputs. Agreements are kept by it, because maps of other sizes share no directions."""
    return f"{maps.unit.shape[2]}x{maps.unit.shape[1]}"


def learn_agreements(
    population: Population, quality: Tensor, in_canonical_form: bool = True
) -> dict[str, ZooAgreement]:
    """Agreements by input and output size.

    `quality` (members,) weighs members in the population's order: good networks agree, bad ones each fail in their
    own way. `in_canonical_form` as in `map_group`.
    """
    pools: dict[str, list[tuple[Maps, Tensor]]] = {}
    for group in population.groups:
        maps = map_group(group, in_canonical_form)
        if maps is not None:
            pools.setdefault(size_key(maps), []).append((maps, quality[torch.from_numpy(group.rows)]))
    return {key: _agree_on_maps(pool) for key, pool in pools.items()}


def _agree_on_maps(pool: list[tuple[Maps, Tensor]]) -> ZooAgreement:
    """One agreement from a `pool` of groups, each with the weights of its members."""
    unit = torch.cat([m.unit for m, _ in pool])
    weight = torch.cat([w for _, w in pool]).double()
    weight = weight / weight.sum() if weight.sum() > 0 else torch.full_like(weight, 1 / len(weight))
    template = torch.einsum("n,noi->oi", weight, unit)
    flat = unit.flatten(1)
    components = _principal_maps(flat)
    scatter = sum(torch.einsum("n,nri,nrj->ij", w.double(), m.first, m.first) for m, w in pool)
    columns = torch.cat([column_norms(m.first) for m, _ in pool])
    center, column_center = unit.median(0).values, columns.median(0).values
    return ZooAgreement(
        template / template.norm().clamp_min(1e-12),
        components.contiguous(),
        torch.linalg.eigh(scatter)[1].flip(1).contiguous(),
        torch.linalg.eigh(torch.einsum("n,noi,noj->ij", weight, unit, unit))[1].flip(1).contiguous(),
        center,
        _robust_spread(unit - center),
        column_center,
        _robust_spread(columns - column_center),
    )


def _principal_maps(flat: Tensor) -> Tensor:
    """The directions (N_COMPONENTS, outputs x inputs) in which the maps (members, ...) differ most.

    From the Gram matrix of the numbers of a map; of maps of whole images from that of the members, since 7,840 numbers
    squared took five minutes.
    """
    if flat.shape[1] <= MOST_SQUARED:
        return torch.linalg.eigh(flat.T @ flat)[1].flip(1).T[:N_COMPONENTS]
    return torch.linalg.svd(flat, full_matrices=False).Vh[:N_COMPONENTS]


def column_norms(first: Tensor) -> Tensor:
    """(members, inputs): log norm of what leaves each input, from `first` (members, rows, inputs).

    Kernels and neurons alike: an input that no class needs keeps the norm of its initial weights.
    """
    return first.norm(dim=1).clamp_min(1e-6).log()


def _robust_spread(residual: Tensor) -> Tensor:
    """1.4826 x the median absolute deviation: poisoned members in the zoo do not widen it."""
    return 1.4826 * residual.abs().median(0).values + 1e-6


# A network's weights multiplied through from inputs to outputs: what it would compute without its nonlinearities.


def end_to_end(graph: Graph, parts: GraphWeights) -> Tensor | None:
    """(members, outputs, inputs), kernels summed over their places; None where inputs or outputs have no set.

    In canonical form it does not change under permutation, positive scaling or sign flips of hidden neurons.
    """
    out = next((i for i in reversed(range(len(graph.nodes))) if graph.nodes[i].is_output), None)
    source = next((i for i, n in enumerate(graph.nodes) if n.is_input), None)
    if out is None or source is None:
        return None
    like = parts.weights[0].double()
    start = torch.eye(graph.nodes[source].size, dtype=torch.float64).expand(len(like), -1, -1)
    state: dict[int, Tensor] = {source: start}
    for block, weight in zip(graph.blocks, parts.weights):
        if block.source in state and block.source != block.target:
            sent = weight.double().sum(1) @ state[block.source]
            state[block.target] = state[block.target] + sent if block.target in state else sent
    return state.get(out)


def center_maps(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (members, outputs, inputs) less their mean over outputs, which no softmax sees, and those at unit norm."""
    maps = maps - maps.mean(1, keepdim=True)
    return maps, maps / maps.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
