"""How far a network's end-to-end map agrees with the maps of its zoo, and where it departs from them."""

import numpy as np
import torch
from torch import Tensor

from digsite.read.core.agreement import Agreement, Maps, learn, maps_of, size_key
from digsite.read.core.population import Group, Population
from digsite.read.core.table import Columns, join
from digsite.read.core.trigger_scan import scan

INVARIANT = ("permutation", "scale", "sign")
State = dict[str, Agreement]


def fit(population: Population, quality: np.ndarray, in_canonical_form: bool = True) -> State:
    return learn(population, torch.from_numpy(np.asarray(quality, dtype=np.float64)), in_canonical_form)


def extract(group: Group, in_canonical_form: bool = True, state: State | None = None) -> Columns:
    maps = maps_of(group, in_canonical_form)
    zoo = (state or {}).get(size_key(maps)) if maps is not None else None
    if maps is None or zoo is None:
        return [], np.zeros((len(group), 0))
    scanned = scan(maps, zoo)
    made = [_alignment(maps, zoo), _energies(maps, zoo)]
    if scanned is not None:
        made.append(_columns("scan", scanned))
    return join(*made)


def _alignment(maps: Maps, zoo: Agreement) -> Columns:
    norms, each, margin = per_output(maps, zoo)
    return join(
        _columns("agreement", (maps.unit * zoo.template).sum((1, 2))[:, None]),
        _columns("class_agreement", each),
        _columns("class_agreement_rank", each.sort(1).values),
        _columns("margin_rank", margin.sort(1).values),
        _columns("margin_mean", margin.mean(1, keepdim=True)),
        _columns("component", maps.unit.flatten(1) @ zoo.components.T),
        _columns("map_singular", torch.linalg.svdvals(maps.raw).clamp_min(1e-9).log()),
        _columns("map_norm", norms.log()),
    )


def per_output(maps: Maps, zoo: Agreement) -> tuple[Tensor, Tensor, Tensor]:
    """Per class: the norm of its map, its agreement with the zoo's, and its lead over the best other class."""
    norms = maps.raw.norm(dim=2).clamp_min(1e-9)
    template = zoo.template / zoo.template.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cosines = (maps.raw / norms[:, :, None]) @ template.T
    each = cosines.diagonal(dim1=1, dim2=2)
    others = cosines - 9 * torch.eye(cosines.shape[1], dtype=cosines.dtype)
    return norms, each, each - others.amax(2)


def _energies(maps: Maps, zoo: Agreement) -> Columns:
    """How much of the first layer and of the map lies along each direction that the zoo uses."""

    def log_energy(values: Tensor, basis: Tensor) -> Tensor:
        return (values @ basis).square().mean(1).clamp_min(1e-12).log()

    return join(
        _columns("first_energy", log_energy(maps.first, zoo.first_basis)),
        _columns("first_map_energy", log_energy(maps.first, zoo.map_basis)),
        _columns("map_energy", log_energy(maps.unit, zoo.map_basis)),
    )


def _columns(name: str, values: Tensor) -> Columns:
    return [f"{name}{i}" for i in range(values.shape[1])], values.numpy()
