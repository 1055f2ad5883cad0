"""From tables of rows to named numbers: many layers and samples at once, as the price of small tensors is the call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.base import families
from digsite.base.contract import Numbers, public_method
from digsite.track.core import spectrum
from digsite.track.core.spectrum import Grams, Spectrum, squared_singular, unbiased_participation

Values = dict[str, float]
KEPT = 32  # singular values of each layer and sample that are kept


@dataclass(frozen=True)
class SeenLayer:
    """A layer at one sample: the Gram of its rows, and raw and centered of its columns where those are fewer."""

    layer: str
    step: int
    rows: Grams
    columns: Tensor | None = None

    @property
    def side(self) -> int:
        """Rows or columns, whichever the Gram matrix is of."""
        return self.rows.n if self.columns is None else self.columns.shape[-1]


@dataclass(frozen=True)
class ReadoutRow:
    """What was read of a layer at a step; `singular` are the largest singular values of the centered rows."""

    layer: str
    step: int
    values: Values
    singular: Tensor | None = None


def see_table(layer: str, step: int, table: Tensor) -> SeenLayer:
    """A table (n, d) as its smaller Gram matrix: everything that is measured can be read off it."""
    n, d = table.shape
    rows = Grams(table @ table.mT, d)
    if n <= d:
        return SeenLayer(layer, step, rows)
    mean, product = table.mean(0), table.mT @ table
    return SeenLayer(layer, step, rows, torch.stack([product, product - n * torch.outer(mean, mean)]))


class Backlog:
    """Samples that wait to be read out together: many small operations become few larger ones."""

    def __init__(self, size: int = 8) -> None:
        self.size = size
        self.waiting: list[SeenLayer] = []
        self._first: dict[str, Tensor] = {}
        self._previous: dict[str, Tensor] = {}

    @property
    def steps(self) -> list[int]:
        """Samples that wait."""
        return sorted({layer.step for layer in self.waiting})

    @property
    def full(self) -> bool:
        """Reading many at once costs hardly more than reading one."""
        return len(self.steps) >= self.size

    def cheap_rows(self) -> list[ReadoutRow]:
        """What needs no decomposition, of everything that waits; to be asked once."""
        return [
            row
            for part in group_by_kind(self.waiting, lambda s: s.rows.n)
            for row in self._layer_likenesses(part)
        ]

    def costly_rows(self, steps: Collection[int]) -> list[ReadoutRow]:
        """Spectra and intrinsic dimensions at some of the steps."""
        chosen = [layer for layer in self.waiting if layer.step in steps]
        spectra = [
            row
            for part in group_by_kind(chosen, lambda s: (s.side, s.columns is None))
            for row in spectra_of(part)
        ]
        return spectra + [
            row for part in group_by_kind(chosen, lambda s: s.rows.n) for row in dimensions_of(part)
        ]

    def _layer_likenesses(self, part: list[SeenLayer]) -> list[ReadoutRow]:
        """Likeness to the first sample and to the last one."""
        now = torch.stack([layer.rows.rows for layer in part])
        values = light_numbers(Grams(now, now.shape[-1]))
        first = torch.stack([self._first.setdefault(layer.layer, layer.rows.rows) for layer in part])
        past = torch.stack([self._rows_before(layer) for layer in part])
        if now.shape[-1] > 3:
            values["cka_to_init"] = spectrum.cka(now, first)
            values["cka_to_previous"] = spectrum.cka(now, past)
        return _readout_rows(part, values)

    def _rows_before(self, layer: SeenLayer) -> Tensor:
        """The layer's Gram at the sample before, which is from now on this one."""
        before = self._previous.get(layer.layer, layer.rows.rows)
        self._previous[layer.layer] = layer.rows.rows
        return before


def group_by_kind(
    waiting: Iterable[SeenLayer], kind: Callable[[SeenLayer], Hashable]
) -> list[list[SeenLayer]]:
    """Those of one kind side by side, in the order they came."""
    by_kind: dict[Hashable, list[SeenLayer]] = {}
    for layer in waiting:
        by_kind.setdefault(kind(layer), []).append(layer)
    return list(by_kind.values())


def _readout_rows(
    part: Sequence[SeenLayer], values: Mapping[str, Tensor], singular: Tensor | None = None
) -> list[ReadoutRow]:
    """Numbers by name, one row for each sample."""
    numbers = torch.stack([value.double() for value in values.values()], -1).tolist()
    return [
        ReadoutRow(
            layer.layer,
            layer.step,
            dict(zip(values, row, strict=True)),
            None if singular is None else singular[i],
        )
        for i, (layer, row) in enumerate(zip(part, numbers, strict=True))
    ]


def light_numbers(stack: Grams) -> dict[str, Tensor]:
    """What needs no decomposition, for any leading axes; in double precision, as centering cancels digits."""
    stack = Grams(stack.rows.double(), stack.n_features)
    flat = stack.centered
    out = {
        "participation_ratio_variance": stack.energy.square() / stack.energy2.clamp_min(1e-30),
        "centered/participation_ratio_variance": flat.energy.square() / flat.energy2.clamp_min(1e-30),
        "mean_share": stack.mean_share,
    }
    if stack.n > 3:
        out["centered/participation_ratio_unbiased"] = unbiased_participation(stack)
    return out


def spectra_of(part: list[SeenLayer]) -> list[ReadoutRow]:
    """Every measure of layers with equal sides, raw and centered, through the smaller Gram."""
    both = Spectrum(
        torch.linalg.eigvalsh(_raw_and_centered(part)).flip(-1).clamp_min(0).double(),
        part[0].rows.n,
        part[0].side,
    )
    values: dict[str, Tensor] = {}
    for name, member in measure_family().items():
        values[name], values[f"centered/{name}"] = member.measure(both)
    return _readout_rows(part, values, both.singular[1, :, :KEPT].float())


def _raw_and_centered(part: list[SeenLayer]) -> Tensor:
    """(2, layers, side, side), raw and centered; centering many at once costs what centering one does."""
    if part[0].columns is not None:
        return torch.stack([layer.columns for layer in part if layer.columns is not None], 1)
    raw = Grams(torch.stack([layer.rows.rows for layer in part]), part[0].rows.n_features)
    return torch.stack([raw.rows, raw.centered.rows])


def dimensions_of(part: list[SeenLayer]) -> list[ReadoutRow]:
    """Intrinsic dimension by two neighbors."""
    stack = Grams(torch.stack([layer.rows.rows for layer in part]), part[0].rows.n_features)
    return _readout_rows(part, {"two_nn": spectrum.two_nn(spectrum.squared_distances(stack))})


def weight_numbers(now: Tensor, first: Tensor) -> Values:
    """Spectra of a weight matrix and of what was added to it since the start; kernels count as their input patch."""
    w, update = now.detach().flatten(1), (now - first).detach().flatten(1)
    both = Spectrum(torch.stack([squared_singular(w), squared_singular(update)]), *w.shape)
    norms = both.squared.sum(-1).sqrt().tolist()
    out: Values = {
        "weight/norm": norms[0],
        "update/norm": norms[1],
        "update/relative": norms[1] / max(norms[0], 1e-30),
    }
    for name in ("stable_rank", "participation_ratio_variance", "entropy_rank", "spectral_norm"):
        raw, moved = measure_family()[name].measure(both).tolist()
        out[f"weight/{name}"] = raw
        out[f"update/{name}"] = moved
    return out


# One table alone, in double precision and without a budget: what a notebook asks for.


@cache
def measure_family() -> Mapping[str, Any]:
    """Every measure by name."""
    return families.scan_family("digsite.track.core.measures")


@public_method(holes=("two_nn",), activations=Numbers(2, rows=2))
def spectra(activations: Float[Tensor, "n d"], *, warn: bool = True) -> dict[str, float]:
    """Every measure by name, "centered/..." after taking off the mean row, plus the share of energy in the mean.

    `participation_ratio_unbiased` corrects for the finite number of rows; `two_nn` is the nonlinear dimension, NaN where
    fewer than ten rows differ. Constant activations have no spectrum, and are refused.

    `activations` are rows of one layer on n inputs; `warn` when there are too few rows for what is measured.
    """
    # In double precision: rows with a common offset of a thousand spreads lose a quarter of their dimension in single.
    table = spectrum.check_activations(torch.as_tensor(activations).detach().double())
    rows = spectrum.row_grams(table)
    out: dict[str, float] = {}
    for prefix, centered in (("", False), ("centered/", True)):
        values = spectrum.table_spectrum(table, centered=centered)
        out |= {prefix + name: float(member.measure(values)) for name, member in measure_family().items()}
        if len(table) > 3:
            unbiased = spectrum.unbiased_participation(rows, centered=centered)
            out[prefix + "participation_ratio_unbiased"] = float(unbiased)
    out["mean_share"] = float(rows.mean_share)
    out["two_nn"] = float(spectrum.two_nn(spectrum.squared_distances(rows)))
    dimension = out["centered/participation_ratio_variance"]
    if warn and spectrum.bounded_by_rows(dimension, len(table)):
        warnings.warn(
            f"A dimension of {dimension:.1f} from {len(table)} rows is bounded by the rows, not by the network; "
            f"use at least {4 * dimension:.0f} rows.",
            stacklevel=2,
        )
    return out
