"""How far a reader may be trusted: is the network like those of its zoo, and how wide must its intervals be?

Three parts: distance to the nearest training networks (membership), intervals that hold the truth in 90 % of networks
like those of the zoo (split conformal), and agreement with what the zoo's networks have in common (alignment).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from digsite.read.core import trees
from digsite.read.core.agreement import Maps, learn_agreements, map_group, size_key
from digsite.read.core.population import Population
from digsite.read.core.trees import Forest

_NEIGHBORS, _DIMENSIONS, _CLIP, _KEEP = 5, 16, 6.0, 600
OUTSIDE = 0.01


@dataclass(frozen=True)
class Membership:
    """Where a zoo's networks lie, whitened."""

    center: np.ndarray
    scale: np.ndarray
    directions: np.ndarray  # (features, dimensions), whitened
    points: np.ndarray  # training networks in those
    distances: np.ndarray  # their own distances to the others, sorted

    def p_values(self, features: np.ndarray) -> np.ndarray:
        """Share of the zoo's own members that lie at least as far out; below 0.01 counts as outside."""
        spots = self._project(features)
        near = cKDTree(self.points).query(spots, k=min(_NEIGHBORS, len(self.points)))[0]
        far = np.asarray(near).reshape(len(spots), -1).mean(1)
        at_least = len(self.distances) - np.searchsorted(self.distances, far, side="left")
        return (at_least + 1) / (len(self.distances) + 1)

    def _project(self, features: np.ndarray) -> np.ndarray:
        """Robustly scaled, since one odd column would make everybody a stranger."""
        return _scale_robustly(features, self.center, self.scale) @ self.directions

    def tensors(self) -> dict[str, Tensor]:
        """Its arrays, for a file."""
        return {f.name: torch.from_numpy(np.ascontiguousarray(getattr(self, f.name))) for f in fields(self)}


def restore_membership(tensors: dict[str, Tensor]) -> Membership:
    """The membership whose `tensors()` these are."""
    return Membership(**{k: t.numpy() for k, t in tensors.items()})


def fit_membership(features: np.ndarray, rng: np.random.Generator) -> Membership:
    """Half of the members are the reference, the other half say how far a member usually is from them."""
    center = np.nan_to_num(np.nanmedian(features, 0))
    scale = 1.4826 * np.nan_to_num(np.nanmedian(np.abs(features - center), 0)) + 1e-6
    z = _scale_robustly(features, center, scale)
    _, s, v = np.linalg.svd(z - z.mean(0), full_matrices=False)
    k = min(_DIMENSIONS, len(s))
    directions = v[:k].T / (s[:k] / np.sqrt(len(z)) + 1e-9)
    spots = z @ directions
    order = rng.permutation(len(spots))
    points, held = spots[order[: len(spots) // 2]][:_KEEP], spots[order[len(spots) // 2 :]]
    near = cKDTree(points).query(held, k=min(_NEIGHBORS, len(points)))[0]
    return Membership(
        center, scale, directions, points, np.sort(np.asarray(near).reshape(len(held), -1).mean(1))
    )


def _scale_robustly(features: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Missing numbers (layers that a network lacks) sit at the center; runaway ones are held at the rim."""
    return np.nan_to_num(((features - center) / scale).clip(-_CLIP, _CLIP))


# Intervals and class sets that hold the truth in 90 % of networks like those of the zoo (split conformal).

LEVEL = 0.9


def fit_margin(residuals: np.ndarray, level: float = LEVEL) -> float:
    """Half-width: the ceil((n + 1) level)-th smallest absolute residual of held-out networks."""
    return _conformal_quantile(np.abs(residuals), level)


def fit_threshold(probability_of_truth: np.ndarray, level: float = LEVEL) -> float:
    """Classes at or above this probability form the set (least ambiguous sets)."""
    return 1 - _conformal_quantile(1 - probability_of_truth, level)


def fit_recipe_margin(residuals: Sequence[np.ndarray], level: float = LEVEL) -> float:
    """Half-width that holds the truth for `level` of the networks of a *new recipe*, on average over recipes.

    Hierarchical conformal prediction, after Dunn et al. (2022): `residuals` holds absolute residuals, one array per
    recipe that was left out. Each recipe weighs 1 / (recipes + 1), spread over its networks, and the new recipe keeps its
    own share as residuals of any size: below ten recipes no interval can promise 90 %, and the answer is infinite.
    """
    share = 1 / (len(residuals) + 1)
    sizes = np.concatenate(residuals)
    weights = np.concatenate([np.full(len(r), share / len(r)) for r in residuals])
    order = np.argsort(sizes)
    at = int(np.searchsorted(np.cumsum(weights[order]), level - 1e-12))
    return float(sizes[order][at]) if at < len(sizes) else math.inf


def _conformal_quantile(scores: np.ndarray, level: float) -> float:
    """The (n + 1) level-th smallest score: a network drawn alike is inside with at least this probability."""
    scores = np.sort(scores[np.isfinite(scores)])
    rank = math.ceil((len(scores) + 1) * level)
    return float(scores[rank - 1]) if 0 < rank <= len(scores) else math.inf


def class_sets(probabilities: np.ndarray, at_least: float) -> np.ndarray:
    """(members, classes) booleans; the likeliest class is always in."""
    sets = probabilities >= at_least
    sets[np.arange(len(sets)), probabilities.argmax(1)] = True
    return sets


def measure_coverage(y: np.ndarray, value: np.ndarray, half_width: float) -> float:
    """Share of known truths `y` (members,) that lie within `half_width` of `value`."""
    known = np.isfinite(y)
    return float((np.abs(y[known] - value[known]) <= half_width).mean())


# Is a network as much of its zoo's mind as networks of its strength are? Trained on other data, it would not be.
#
# Dead networks agree with nobody either, so low agreement alone says nothing: it is compared with what singular values,
# which do not know one input from another, let one expect.

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
            maps = map_group(group)
            key = size_key(maps) if maps is not None else ""
            if maps is None or key not in self.forests:
                continue
            known, own = self.residuals[key], self._short(maps, key)
            below = np.searchsorted(known, own, side="right") + 1
            above = len(known) - np.searchsorted(known, own, side="left") + 1
            out[group.rows] = np.minimum(1.0, 2 * np.minimum(below, above) / (len(known) + 1))
        return out

    def _short(self, maps: Maps, key: str) -> np.ndarray:
        """How much a network agrees less than its strength lets expect."""
        return (
            _agree_with_template(maps, self.templates[key])
            - self.forests[key].raw(_measure_strength(maps))[:, 0]
        )

    def tensors(self) -> dict[str, Tensor]:
        """Templates, forests and residuals under `size|what|name`, for a file."""
        out: dict[str, Tensor] = {}
        for key in self.forests:
            out[f"{key}|template|all"] = self.templates[key]
            out |= {f"{key}|forest|{n}": t for n, t in self.forests[key].tensors().items()}
            out[f"{key}|residuals|all"] = torch.from_numpy(self.residuals[key])
        return out


def fit_alignment(train: Population, quality: np.ndarray, seed: int) -> Alignment:
    """What agreement to expect of a network's strength, learned on `train`, with the residuals of networks held out.

    `quality` (members,) weighs members in the mean map. Sizes of map with fewer than 20 networks are left out: their
    p-values would have no tail.
    """
    agreed = learn_agreements(train, torch.from_numpy(np.asarray(quality, dtype=np.float64)))
    templates = {key: zoo.template for key, zoo in agreed.items()}
    rows, answers = _strength_and_agreement(train, templates)
    enough = [k for k in rows if len(rows[k]) >= 5 * _FOLDS]
    forests = {k: trees.grow_regression(rows[k], answers[k], seed, max_iter=_ROUNDS) for k in enough}
    residuals = {k: np.sort(_held_out_residuals(rows[k], answers[k], seed)) for k in enough}
    return Alignment({k: templates[k] for k in enough}, forests, residuals)


def _held_out_residuals(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Each network against an expectation that was learned without it."""
    fold = np.arange(len(y)) % _FOLDS
    out = np.zeros(len(y))
    for i in range(_FOLDS):
        forest = trees.grow_regression(x[fold != i], y[fold != i], seed, max_iter=_ROUNDS)
        out[fold == i] = y[fold == i] - forest.raw(x[fold == i])[:, 0]
    return out


def _strength_and_agreement(
    population: Population, templates: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of every output of every network."""
    rows: dict[str, list[np.ndarray]] = {}
    answers: dict[str, list[np.ndarray]] = {}
    for group in population.groups:
        maps = map_group(group)
        if maps is not None and size_key(maps) in templates:
            rows.setdefault(size_key(maps), []).append(_measure_strength(maps))
            answers.setdefault(size_key(maps), []).append(
                _agree_with_template(maps, templates[size_key(maps)])
            )
    return {k: np.concatenate(v) for k, v in rows.items()}, {k: np.concatenate(v) for k, v in answers.items()}


def _agree_with_template(maps: Maps, template: Tensor) -> np.ndarray:
    """Inner product of unit maps."""
    return (maps.unit * template).sum((1, 2)).numpy()


def _measure_strength(maps: Maps) -> np.ndarray:
    """Singular values of the map and of the first layer: the same whatever the order of the inputs."""
    strengths = [torch.linalg.svdvals(m).clamp_min(1e-9).log() for m in (maps.raw, maps.first)]
    padded = [
        torch.nn.functional.pad(s[:, :_TOP], (0, max(0, _TOP - s.shape[1])), value=-20.0) for s in strengths
    ]
    spread = maps.raw.norm(dim=2).log().std(1, keepdim=True)
    return torch.cat([*padded, spread], 1).numpy()


def restore_alignment(tensors: dict[str, Tensor]) -> Alignment:
    """The alignment whose `tensors()` these are."""
    parts: dict[str, dict[str, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        key, what, rest = name.split("|")
        parts.setdefault(key, {}).setdefault(what, {})[rest] = tensor
    templates = {k: p["template"]["all"].double() for k, p in parts.items()}
    forests = {k: trees.restore_forest(p["forest"]) for k, p in parts.items()}
    return Alignment(templates, forests, {k: p["residuals"]["all"].numpy() for k, p in parts.items()})
