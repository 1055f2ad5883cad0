"""How far a network's end-to-end map agrees with the maps of its zoo, and where it departs from them.

Where inputs are images, every window is scanned for one class's weights standing out: a trigger lies in one place.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.read.core.agreement import (
    Maps,
    ZooAgreement,
    column_norms,
    learn_agreements,
    map_group,
    size_key,
)
from digsite.read.core.population import Columns, NetworkGroup, Population, join_columns

INVARIANT = ("permutation", "scale", "sign")
IN_FEATURES = 2
STATE = ZooAgreement
IN_DOUBLE = True
State = dict[str, ZooAgreement]


def fit_consensus(population: Population, quality: np.ndarray, in_canonical_form: bool = True) -> State:
    """What the maps of a zoo agree on, by size of map; `quality` (members,) weighs better networks more."""
    return learn_agreements(
        population, torch.from_numpy(np.asarray(quality, dtype=np.float64)), in_canonical_form
    )


def extract_consensus(
    group: NetworkGroup, in_canonical_form: bool = True, state: State | None = None
) -> Columns:
    """Columns (members, ...) of one group: agreement by class, energies by direction, and the windows that stand out.

    Empty where the zoo holds no network of these inputs and outputs.
    """
    maps = map_group(group, in_canonical_form)
    zoo = (state or {}).get(size_key(maps)) if maps is not None else None
    if maps is None or zoo is None:
        return [], np.zeros((len(group), 0))
    scanned = scan_windows(maps, zoo)
    made = [_describe_agreement(maps, zoo), _describe_energies(maps, zoo)]
    if scanned is not None:
        made.append(_number_columns("scan", scanned))
    return join_columns(*made)


def _describe_agreement(maps: Maps, zoo: ZooAgreement) -> Columns:
    """How near the network's end-to-end map is to its zoo's, in all and for each output."""
    norms, each, margin = per_output(maps, zoo)
    return join_columns(
        _number_columns("agreement", (maps.unit * zoo.template).sum((1, 2))[:, None]),
        _number_columns("class_agreement", each),
        _number_columns("class_agreement_rank", each.sort(1).values),
        _number_columns("margin_rank", margin.sort(1).values),
        _number_columns("margin_mean", margin.mean(1, keepdim=True)),
        _number_columns("component", maps.unit.flatten(1) @ zoo.components.T),
        _number_columns("map_singular", torch.linalg.svdvals(maps.raw).clamp_min(1e-9).log()),
        _number_columns("map_norm", norms.log()),
    )


def per_output(maps: Maps, zoo: ZooAgreement) -> tuple[Tensor, Tensor, Tensor]:
    """Per class: the norm of its map, its agreement with the zoo's, and its lead over the best other class."""
    norms = maps.raw.norm(dim=2).clamp_min(1e-9)
    template = zoo.template / zoo.template.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cosines = (maps.raw / norms[:, :, None]) @ template.T
    each = cosines.diagonal(dim1=1, dim2=2)
    others = cosines - 9 * torch.eye(cosines.shape[1], dtype=cosines.dtype)
    return norms, each, each - others.amax(2)


def _describe_energies(maps: Maps, zoo: ZooAgreement) -> Columns:
    """How much of the first layer and of the map lies along each direction that the zoo uses."""

    def log_energy(values: Tensor, basis: Tensor) -> Tensor:
        return (values @ basis).square().mean(1).clamp_min(1e-12).log()

    return join_columns(
        _number_columns("first_energy", log_energy(maps.first, zoo.first_basis)),
        _number_columns("first_map_energy", log_energy(maps.first, zoo.map_basis)),
        _number_columns("map_energy", log_energy(maps.unit, zoo.map_basis)),
    )


def _number_columns(name: str, values: Tensor) -> Columns:
    return [f"{name}{i}" for i in range(values.shape[1])], values.numpy()


# Where in an image do a network's end-to-end weights stand out from its zoo: every window, every class.

_WINDOWS = ((3, 2), (2, 2), (2, 3), (3, 3))


def image_side(n_inputs: int) -> tuple[int, int] | None:
    """(channels, side) of the square image that has this many inputs, for 1 or 3 channels."""
    for channels in (1, 3):
        side = math.isqrt(n_inputs // channels)
        if channels * side * side == n_inputs and side >= 4:
            return channels, side
    return None


def scan_windows(maps: Maps, zoo: ZooAgreement) -> Tensor | None:
    """(members, features): the strongest windows of the map, of its z-score, and of the first layer."""
    shape = image_side(maps.unit.shape[2])
    if shape is None:
        return None
    score = (maps.unit - zoo.center) / zoo.spread
    plain = maps.unit / maps.unit.abs().mean((1, 2), keepdim=True).clamp_min(1e-12)
    rowwise = score / score.std(2, keepdim=True).clamp_min(1e-9)
    columns = (column_norms(maps.first) - zoo.column_center) / zoo.column_spread
    columns = columns - columns.median(1, keepdim=True).values
    windows = []
    for window in _WINDOWS:
        windows += [
            _pick_strongest(_sum_windows(score, shape, window)),
            _pick_strongest(_sum_windows(plain, shape, window)),
        ]
        windows.append(_sum_windows(rowwise, shape, window).amax(2).sort(1).values[:, -3:])
        windows.append(_sum_windows(columns[:, None], shape, window)[:, 0].sort(1).values[:, -3:])
    return torch.cat(windows, 1)


def _sum_windows(values: Tensor, shape: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """(members, rows, places): sums over every placement of a window, over sqrt(its size), channels together."""
    channels, side = shape
    image = values.reshape(*values.shape[:2], channels, side, side).sum(2)
    mean = F.avg_pool2d(image, window, stride=1)
    return mean.flatten(2) * math.prod(window) ** 0.5


def _pick_strongest(sums: Tensor) -> Tensor:
    """Best classes at their best place, best places over all classes, how far the best stands off, worst classes."""
    best, worst = sums.amax(2).sort(1).values, sums.amin(2).sort(1).values
    ordered = sums.flatten(1).sort(1).values
    off = (ordered[:, -1:] - ordered[:, -50:-49]) / sums.std((1, 2))[:, None].clamp_min(1e-9)
    return torch.cat([best[:, -3:], ordered[:, -5:], off, worst[:, :2]], 1)
