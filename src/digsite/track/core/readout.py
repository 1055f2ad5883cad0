"""From tables of rows to named numbers: many layers and samples at once, as the price of small tensors is the call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.track.core import intrinsic, similarity
from digsite.track.core.activations import measures
from digsite.track.core.sampling import unbiased_participation
from digsite.track.core.spectrum import Grams, Spectrum, squared_singular

Values = dict[str, float]
KEPT = 32  # singular values of each layer and sample that are kept


@dataclass(frozen=True)
class Seen:
    """A layer at one sample: the Gram of its rows, and raw and centered of its columns where those are fewer."""

    layer: str
    step: int
    rows: Grams
    columns: Tensor | None = None

    @property
    def side(self) -> int:
        return self.rows.n if self.columns is None else self.columns.shape[-1]


@dataclass(frozen=True)
class Row:
    """What was read of a layer at a step; `singular` are the largest singular values of the centered rows."""

    layer: str
    step: int
    values: Values
    singular: Tensor | None = None


def seen(layer: str, step: int, table: Tensor) -> Seen:
    n, d = table.shape
    rows = Grams(table @ table.mT, d)
    if n <= d:
        return Seen(layer, step, rows)
    mean, product = table.mean(0), table.mT @ table
    return Seen(layer, step, rows, torch.stack([product, product - n * torch.outer(mean, mean)]))


class Backlog:
    """Samples that wait to be read out together: many small operations become few larger ones."""

    def __init__(self, size: int = 8) -> None:
        self.size = size
        self.waiting: list[Seen] = []
        self._first: dict[str, Tensor] = {}
        self._previous: dict[str, Tensor] = {}

    @property
    def steps(self) -> list[int]:
        return sorted({one.step for one in self.waiting})

    @property
    def full(self) -> bool:
        return len(self.steps) >= self.size

    def cheap(self) -> list[Row]:
        """What needs no decomposition, of everything that waits; to be asked once."""
        return [row for part in grouped(self.waiting, lambda s: s.rows.n) for row in self._likenesses(part)]

    def costly(self, steps: Collection[int]) -> list[Row]:
        """Spectra and intrinsic dimensions at some of the steps."""
        chosen = [one for one in self.waiting if one.step in steps]
        spectra = [
            row for part in grouped(chosen, lambda s: (s.side, s.columns is None)) for row in spectra_of(part)
        ]
        return spectra + [row for part in grouped(chosen, lambda s: s.rows.n) for row in dimensions_of(part)]

    def _likenesses(self, part: list[Seen]) -> list[Row]:
        now = torch.stack([one.rows.rows for one in part])
        values = light(Grams(now, now.shape[-1]))
        first = torch.stack([self._first.setdefault(one.layer, one.rows.rows) for one in part])
        past = torch.stack([self._before(one) for one in part])
        if now.shape[-1] > 3:
            values["cka_to_init"] = similarity.cka(now, first)
            values["cka_to_previous"] = similarity.cka(now, past)
        return _rows(part, values)

    def _before(self, one: Seen) -> Tensor:
        """The layer's Gram at the sample before, which is from now on this one."""
        before = self._previous.get(one.layer, one.rows.rows)
        self._previous[one.layer] = one.rows.rows
        return before


def grouped(waiting: Iterable[Seen], kind: Callable[[Seen], Hashable]) -> list[list[Seen]]:
    """Those of one kind side by side, in the order they came."""
    found: dict[Hashable, list[Seen]] = {}
    for one in waiting:
        found.setdefault(kind(one), []).append(one)
    return list(found.values())


def _rows(part: Sequence[Seen], values: Mapping[str, Tensor], singular: Tensor | None = None) -> list[Row]:
    numbers = torch.stack([value.double() for value in values.values()], -1).tolist()
    return [
        Row(
            one.layer,
            one.step,
            dict(zip(values, row, strict=True)),
            None if singular is None else singular[i],
        )
        for i, (one, row) in enumerate(zip(part, numbers, strict=True))
    ]


def light(stack: Grams) -> dict[str, Tensor]:
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


def spectra_of(part: list[Seen]) -> list[Row]:
    """Every measure of layers with equal sides, raw and centered, through the smaller Gram."""
    both = Spectrum(
        torch.linalg.eigvalsh(_pairs(part)).flip(-1).clamp_min(0).double(), part[0].rows.n, part[0].side
    )
    values: dict[str, Tensor] = {}
    for name, member in measures().items():
        values[name], values[f"centered/{name}"] = member.measure(both)
    return _rows(part, values, both.singular[1, :, :KEPT].float())


def _pairs(part: list[Seen]) -> Tensor:
    """(2, layers, side, side), raw and centered; centering many at once costs what centering one does."""
    if part[0].columns is not None:
        return torch.stack([one.columns for one in part if one.columns is not None], 1)
    raw = Grams(torch.stack([one.rows.rows for one in part]), part[0].rows.n_features)
    return torch.stack([raw.rows, raw.centered.rows])


def dimensions_of(part: list[Seen]) -> list[Row]:
    stack = Grams(torch.stack([one.rows.rows for one in part]), part[0].rows.n_features)
    return _rows(part, {"two_nn": intrinsic.two_nn(intrinsic.squared_distances(stack))})


def weights(now: Tensor, first: Tensor) -> Values:
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
        raw, moved = measures()[name].measure(both).tolist()
        out[f"weight/{name}"] = raw
        out[f"update/{name}"] = moved
    return out
