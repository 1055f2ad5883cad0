"""How the rules for changes by training are grown from families of known descent, and how sure they may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from scipy.optimize import minimize_scalar

from digsite.read.core import trees
from digsite.read.judge.edge_features import draw_portrait
from digsite.read.judge.edge_kinds import REVERSE, SIBLINGS, probabilities, support_of, tuning_features
from digsite.read.subjects.network import Network

TRAINED_KINDS = ("fine-tuned", "continued", "distilled", "repaired")
OPTIONS = {"max_iter": 100, "max_depth": 3, "learning_rate": 0.06, "class_weight": "balanced"}


@dataclass(frozen=True)
class Example:
    """A true edge (or two siblings): the features read forward and backward, and the recipe that it came from."""

    recipe: str
    kind: str
    forward: np.ndarray
    backward: np.ndarray


def describe_examples(
    recipe: str, networks: dict[str, Network], links: Sequence[tuple[str, str, str]]
) -> list[Example]:
    """`links` are (parent, child, kind) with kinds of training, or of siblings."""
    portraits = {name: draw_portrait(networks[name]) for name in {n for link in links for n in link[:2]}}

    def look(a: str, b: str) -> np.ndarray:
        return tuning_features(networks[a], networks[b], portraits[a], portraits[b])[0]

    return [Example(recipe, kind, look(a, b), look(b, a)) for a, b, kind in links]


def grow_rules(examples: Sequence[Example], path: Path, seed: int = 0) -> float:
    """Trees over all examples, saved; returns the slope that makes the stated probabilities true on recipes left out."""
    classes = (*TRAINED_KINDS, SIBLINGS, REVERSE)
    slope = _calibrate(examples, classes, seed)
    forest = _grow(examples, classes, seed)
    save_file(forest.tensors(), path, {"classes": ",".join(classes), "slope": f"{slope:.4f}", "format": "pt"})
    return slope


def _grow(examples: Sequence[Example], classes: tuple[str, ...], seed: int) -> trees.Forest:
    x = np.stack([f for e in examples for f in (e.forward, e.backward)])
    y = [c for e in examples for c in (e.kind, SIBLINGS if e.kind == SIBLINGS else REVERSE)]
    return trees.fit_classes(x, np.array([classes.index(c) for c in y]), seed, **OPTIONS)


def _calibrate(examples: Sequence[Example], classes: tuple[str, ...], seed: int) -> float:
    """Each recipe judged by rules that never saw it; the slope of the log odds with the highest likelihood."""
    odds = []
    for recipe in sorted({e.recipe for e in examples}):
        forest = _grow([e for e in examples if e.recipe != recipe], classes, seed)
        for e in examples:
            if e.recipe == recipe and e.kind != SIBLINGS:
                ahead, back = (probabilities(forest, f[None]) for f in (e.forward, e.backward))
                odds.append(np.log(support_of(classes, ahead, back) / support_of(classes, back, ahead)))
    found = np.array(odds)
    best = minimize_scalar(
        lambda s: float(np.logaddexp(0, -s * found).sum()), bounds=(0.05, 2.0), method="bounded"
    )
    return float(best.x)
