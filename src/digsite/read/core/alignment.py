"""Is a network as much of its zoo's mind as networks of its strength are? Trained on other data, it would not be.

Dead networks agree with nobody either, so low agreement alone says nothing: it is compared with what singular values,
which do not know one input from another, let one expect.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.read.core import trees
from digsite.read.core.agreement import Maps, learn, maps_of, size_key
from digsite.read.core.population import Population
from digsite.read.core.trees import Forest

_TOP, _FOLDS, _ROUNDS = 8, 4, 80


@dataclass(frozen=True)
class Alignment:
    """By size of map: the mean map, and agreement minus what was expected, of other networks and sorted."""

    templates: dict[str, Tensor]
    forests: dict[str, Forest]
    residuals: dict[str, np.ndarray]

    def p_values(self, population: Population) -> np.ndarray:
        """Share of the zoo's networks that lie as far from what is expected, two-sided; 1 where there is no map to compare.

        Too little agreement for its strength: trained on other data, or on reordered pixels. Too much: trained on pixels
        of another scale, where small weights do what large ones do in the zoo.
        """
        out = np.ones(population.size)
        for group in population.groups:
            maps = maps_of(group)
            key = size_key(maps) if maps is not None else ""
            if maps is None or key not in self.forests:
                continue
            known, own = self.residuals[key], self._short(maps, key)
            below = np.searchsorted(known, own, side="right") + 1
            above = len(known) - np.searchsorted(known, own, side="left") + 1
            out[group.rows] = np.minimum(1.0, 2 * np.minimum(below, above) / (len(known) + 1))
        return out

    def _short(self, maps: Maps, key: str) -> np.ndarray:
        return _agreement(maps, self.templates[key]) - self.forests[key].raw(_strength(maps))[:, 0]

    def tensors(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for key in self.forests:
            out[f"{key}|template|all"] = self.templates[key]
            out |= {f"{key}|forest|{n}": t for n, t in self.forests[key].tensors().items()}
            out[f"{key}|residuals|all"] = torch.from_numpy(self.residuals[key])
        return out


def fit(train: Population, quality: np.ndarray, seed: int) -> Alignment:
    agreed = learn(train, torch.from_numpy(np.asarray(quality, dtype=np.float64)))
    templates = {key: zoo.template for key, zoo in agreed.items()}
    rows, answers = _rows(train, templates)
    enough = [k for k in rows if len(rows[k]) >= 5 * _FOLDS]
    forests = {k: trees.fit_regression(rows[k], answers[k], seed, max_iter=_ROUNDS) for k in enough}
    residuals = {k: np.sort(_held_out_residuals(rows[k], answers[k], seed)) for k in enough}
    return Alignment({k: templates[k] for k in enough}, forests, residuals)


def _held_out_residuals(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Each network against an expectation that was learned without it."""
    fold = np.arange(len(y)) % _FOLDS
    out = np.zeros(len(y))
    for i in range(_FOLDS):
        forest = trees.fit_regression(x[fold != i], y[fold != i], seed, max_iter=_ROUNDS)
        out[fold == i] = y[fold == i] - forest.raw(x[fold == i])[:, 0]
    return out


def _rows(population: Population, templates: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Any]]:
    rows: dict[str, list[np.ndarray]] = {}
    answers: dict[str, list[np.ndarray]] = {}
    for group in population.groups:
        maps = maps_of(group)
        if maps is not None and size_key(maps) in templates:
            rows.setdefault(size_key(maps), []).append(_strength(maps))
            answers.setdefault(size_key(maps), []).append(_agreement(maps, templates[size_key(maps)]))
    return {k: np.concatenate(v) for k, v in rows.items()}, {k: np.concatenate(v) for k, v in answers.items()}


def _agreement(maps: Maps, template: Tensor) -> np.ndarray:
    return (maps.unit * template).sum((1, 2)).numpy()


def _strength(maps: Maps) -> np.ndarray:
    """Singular values of the map and of the first layer: the same whatever the order of the inputs."""
    found = [torch.linalg.svdvals(m).clamp_min(1e-9).log() for m in (maps.raw, maps.first)]
    padded = [
        torch.nn.functional.pad(s[:, :_TOP], (0, max(0, _TOP - s.shape[1])), value=-20.0) for s in found
    ]
    spread = maps.raw.norm(dim=2).log().std(1, keepdim=True)
    return torch.cat([*padded, spread], 1).numpy()


def restore(tensors: dict[str, Tensor]) -> Alignment:
    parts: dict[str, dict[str, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        key, what, rest = name.split("|")
        parts.setdefault(key, {}).setdefault(what, {})[rest] = tensor
    templates = {k: p["template"]["all"].double() for k, p in parts.items()}
    forests = {k: trees.restore(p["forest"]) for k, p in parts.items()}
    return Alignment(templates, forests, {k: p["residuals"]["all"].numpy() for k, p in parts.items()})
