"""What the networks of a zoo agree on: the end-to-end map they share, its directions, and each input's spread."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from digsite.read.core.end_to_end import centered, end_to_end
from digsite.read.core.parts import canonical, parts_of
from digsite.read.core.population import Group, Population

N_COMPONENTS = 40
MIN_INPUTS = 8  # fewer inputs (the channels of an image) have no map worth comparing


@dataclass(frozen=True)
class Agreement:
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
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Maps:
    """One group's end-to-end maps and first-layer weights."""

    raw: Tensor  # (members, outputs, inputs), centered over outputs
    unit: Tensor
    first: Tensor  # (members, rows, inputs)


def maps_of(group: Group, in_canonical_form: bool = True) -> Maps | None:
    parts = parts_of(group.graph, group.tensors)
    parts = canonical(group.graph, parts) if in_canonical_form else parts
    found = end_to_end(group.graph, parts)
    if found is None or found.shape[2] < MIN_INPUTS:
        return None
    raw, unit = centered(found)
    source = next(i for i, n in enumerate(group.graph.nodes) if n.kind == "input")
    first = next(w for w, b in zip(parts.weights, group.graph.blocks) if b.source == source)
    return Maps(raw, unit, first.double().flatten(1, 2))


def size_key(maps: Maps) -> str:
    return f"{maps.unit.shape[2]}x{maps.unit.shape[1]}"


def learn(population: Population, quality: Tensor, in_canonical_form: bool = True) -> dict[str, Agreement]:
    """Agreements by input and output size. `quality` weighs members (better networks agree on more)."""
    pools: dict[str, list[tuple[Maps, Tensor]]] = {}
    for group in population.groups:
        maps = maps_of(group, in_canonical_form)
        if maps is not None:
            pools.setdefault(size_key(maps), []).append((maps, quality[torch.from_numpy(group.rows)]))
    return {key: _agree(pool) for key, pool in pools.items()}


def _agree(pool: list[tuple[Maps, Tensor]]) -> Agreement:
    unit = torch.cat([m.unit for m, _ in pool])
    weight = torch.cat([w for _, w in pool]).double()
    weight = weight / weight.sum() if weight.sum() > 0 else torch.full_like(weight, 1 / len(weight))
    template = torch.einsum("n,noi->oi", weight, unit)
    flat = unit.flatten(1)
    components = torch.linalg.eigh(flat.T @ flat)[1].flip(1).T[:N_COMPONENTS]
    scatter = sum(torch.einsum("n,nri,nrj->ij", w.double(), m.first, m.first) for m, w in pool)
    columns = torch.cat([column_norms(m.first) for m, _ in pool])
    center, column_center = unit.median(0).values, columns.median(0).values
    return Agreement(
        template / template.norm().clamp_min(1e-12),
        components.contiguous(),
        torch.linalg.eigh(scatter)[1].flip(1).contiguous(),
        torch.linalg.eigh(torch.einsum("n,noi,noj->ij", weight, unit, unit))[1].flip(1).contiguous(),
        center,
        _robust_spread(unit - center),
        column_center,
        _robust_spread(columns - column_center),
    )


def column_norms(first: Tensor) -> Tensor:
    return first.norm(dim=1).clamp_min(1e-6).log()


def _robust_spread(residual: Tensor) -> Tensor:
    """1.4826 x the median absolute deviation: poisoned members in the zoo do not widen it."""
    return 1.4826 * residual.abs().median(0).values + 1e-6
