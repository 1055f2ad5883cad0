"""From tables of rows to named numbers: cheap Gram read-outs of many layers and samples at once, spectra by layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from digsite.track import intrinsic, similarity
from digsite.track.activations import measures
from digsite.track.sampling import unbiased_participation
from digsite.track.spectrum import Grams, Spectrum

Values = dict[str, float]


def grams_of(tables: Mapping[str, Tensor]) -> dict[str, Grams]:
    return {name: Grams(table @ table.mT, table.shape[-1]) for name, table in tables.items()}


class Backlog:
    """Gram matrices of several samples, read out together: many small operations become few larger ones."""

    def __init__(self, size: int = 8) -> None:
        self.size = size
        self.waiting: list[tuple[int, dict[str, Grams]]] = []
        self._first: dict[str, Tensor] = {}
        self._previous: dict[str, Tensor] = {}

    def add(self, step: int, grams: dict[str, Grams]) -> None:
        self.waiting.append((step, grams))

    @property
    def full(self) -> bool:
        return len(self.waiting) >= self.size

    def read(self) -> list[tuple[str, int, Values]]:
        """(layer, step, values) of all waiting samples."""
        groups: dict[tuple[int, str], list[int]] = {}
        for at, (_, grams) in enumerate(self.waiting):
            for name, g in grams.items():
                groups.setdefault((g.n, name), []).append(at)
        together: dict[tuple[int, tuple[int, ...]], list[str]] = {}
        for (n, name), places in groups.items():
            together.setdefault((n, tuple(places)), []).append(name)
        found = [row for (_, places), names in together.items() for row in self._group(names, places)]
        self.waiting.clear()
        return found

    def _group(self, names: list[str], places: tuple[int, ...]) -> list[tuple[str, int, Values]]:
        """Layers with equal numbers of rows that were seen at the same samples."""
        now = torch.stack([torch.stack([self.waiting[at][1][name].rows for name in names]) for at in places])
        stack = Grams(now, now.shape[-1])
        values = light(stack)
        if stack.n > 3:
            first = torch.stack([self._first.setdefault(name, now[0, i]) for i, name in enumerate(names)])
            before = torch.stack([self._previous.get(name, now[0, i]) for i, name in enumerate(names)])
            past = torch.cat([before[None], now[:-1]])
            values["cka_to_init"] = similarity.cka(now, first.expand_as(now))
            values["cka_to_previous"] = similarity.cka(now, past)
        self._previous |= {name: now[-1, i] for i, name in enumerate(names)}
        table = torch.stack(list(values.values())).tolist()
        return [
            (name, self.waiting[at][0], {key: table[k][s][i] for k, key in enumerate(values)})
            for s, at in enumerate(places)
            for i, name in enumerate(names)
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


def full(table: Tensor, grams: Grams) -> Values:
    """Every measure of one layer, raw and centered, through the smaller Gram."""
    pair = torch.stack([grams.rows, grams.centered.rows]) if grams.n <= table.shape[-1] else _columns(table)
    squared = torch.linalg.eigvalsh(pair).flip(-1).clamp_min(0).double()
    both = Spectrum(squared, grams.n, grams.n_features)
    out: Values = {}
    for name, member in measures().items():
        raw, centered = member.measure(both).tolist()
        out[name], out[f"centered/{name}"] = raw, centered
    return out


def _columns(table: Tensor) -> Tensor:
    mean = table.mean(0)
    product = table.mT @ table
    return torch.stack([product, product - len(table) * torch.outer(mean, mean)])


def dimension(grams: Grams) -> Values:
    return {"two_nn": intrinsic.two_nn(intrinsic.squared_distances(grams))}


def weights(now: Tensor, first: Tensor) -> Values:
    """Spectra of a weight matrix and of what was added to it since the start; kernels count as their input patch."""
    w, update = now.detach().flatten(1), (now - first).detach().flatten(1)
    side = min(w.shape)
    pair = torch.stack([w, update])
    product = pair @ pair.mT if w.shape[0] == side else pair.mT @ pair
    both = Spectrum(torch.linalg.eigvalsh(product).flip(-1).clamp_min(0).double(), *w.shape)
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
