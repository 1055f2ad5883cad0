"""What was done on the way from one network to a related one, and which of the two came first.

Operations that leave a trace (zeros, levels, rounding, other coordinates, a fresh head) are recognized by it. Training
leaves none that is exact: its kind and its direction are read by trees that were grown on families of known descent
(`subjects/families.py`), with the recipes of the bench's report left out; `grow_rules` is how they were grown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.optimize import minimize_scalar

from digsite.read.core import trees
from digsite.read.core.trees import Forest, restore_forest
from digsite.read.judge.edge_features import Portrait, direction_features, draw_portrait, kind_features
from digsite.read.judge.relation import Relation, TensorRelation
from digsite.read.judge.traces import find_pruning, find_rescaling, find_rounding
from digsite.read.subjects.network import Network

RULES = "edge_rules.safetensors"
REVERSE, SIBLINGS = "reverse", "siblings"
TAUGHT = ("distilled", "repaired")
_PRIOR = {
    "distilled": 0.5,
    "repaired": 0.5,
}  # rarer in folders than in the bench, which holds one of each for five others
_CERTAIN, _NEVER = 0.99, 0.01
_FRESH_DISTANCE, _FRESH_COSINE, _NO_TRACE = (
    0.6,
    0.3,
    1e-3,
)  # a tensor that shares nothing with its counterpart


@dataclass(frozen=True)
class Judgement:
    """`forward`: probability that the first network is the origin. The other kind holds if it is not."""

    kind: str
    forward: float
    certainty: float
    note: str = ""
    other_kind: str = ""
    other_certainty: float = 0.0
    other_note: str = ""
    taught: float = 0.0  # probability, among kinds of training, that a teacher's answers were followed
    other_taught: float = 0.0

    def turned(self) -> "Judgement":
        """The same judgement read from the second network to the first."""
        return Judgement(
            self.other_kind or self.kind,
            1.0 - self.forward,
            self.other_certainty or self.certainty,
            self.other_note or self.note,
            self.kind,
            self.certainty,
            self.note,
            self.other_taught,
            self.taught,
        )


def judge_edge(first: Network, second: Network, relation: Relation, in_order: bool = True) -> Judgement:
    """Kind and direction of one edge: other coordinates first, then exact traces, then a fresh head, then training.

    `in_order`: the relation was computed from `first` to `second`. Surer readings come first because trees know only
    kinds of training, and would name a pruned copy a fine-tuned one.
    """
    if relation.match is not None and relation.how == "matched":
        return _judge_match(relation, in_order)
    names = (
        [t.name for t in relation.tensors if first.weights[t.name].ndim > 1]
        if in_order
        else [
            k
            for k in second.matrices
            if k in first.weights and first.weights[k].shape == second.weights[k].shape
        ]
    )
    names = [k for k in names if k in first.weights and k in second.weights]
    if names and _equal_everywhere(first, second):
        return Judgement("identical copy", 0.5, 1.0, "equal in every weight")
    return (
        _judge_traces(first, second, names)
        or _judge_fresh(first, second, relation)
        or judge_tuning(first, second)
    )


def _equal_everywhere(first: Network, second: Network) -> bool:
    return first.weights.keys() == second.weights.keys() and all(
        first.weights[k].shape == second.weights[k].shape
        and bool((first.weights[k] == second.weights[k]).all())
        for k in first.weights
    )


def _judge_match(relation: Relation, in_order: bool) -> Judgement:
    """Another order has no direction. Another scale has one: training keeps what enters and leaves a neuron in balance."""
    match = relation.match
    assert match is not None
    note = "" if match.exact else f"and changed by {match.distance:.1%} of their norms"
    if match.moved > 0.02:
        also = " and rescaled" if match.coordinates == "scale" and match.exact else ""
        return Judgement(
            "permuted copy",
            0.5,
            0.9,
            f"{match.moved:.0%} of the neurons in other places{also} {note}".strip(),
        )
    before, after = match.spread if in_order else match.spread[::-1]
    forward = 1 / (1 + math.exp(-6.0 * (after - before))) if match.coordinates == "scale" else 0.5
    how = "signs" if match.coordinates == "sign" else "scales"
    return Judgement("rescaled copy", forward, 0.9, f"neurons with other {how} {note}".strip())


def _judge_traces(first: Network, second: Network, names: list[str]) -> Judgement | None:
    """Zeros and levels appear and do not vanish, so whoever has them is the child."""
    if not names:
        return None
    for origin, other, forward in ((first, second, _CERTAIN), (second, first, _NEVER)):
        for trace in (find_rounding(origin, other, names), find_pruning(origin, other, names)):
            if trace is not None:
                return Judgement(trace.kind, forward, 0.95 if trace.alone else 0.8, trace.detail)
    scaled = find_rescaling(first, second, names)
    if scaled is not None:
        spread = [_row_spread(n, names) for n in (first, second)]
        return Judgement(
            "rescaled copy", 1 / (1 + math.exp(-6.0 * (spread[1] - spread[0]))), 0.95, scaled.detail
        )
    return None


def _row_spread(network: Network, names: list[str]) -> float:
    rows = [network.weights[k].flatten(1).norm(dim=1).clamp_min(1e-9).log() for k in names]
    return float(np.mean([float(r.std(unbiased=False)) for r in rows]))


def _judge_fresh(first: Network, second: Network, relation: Relation) -> Judgement | None:
    """A last matrix that has nothing of its counterpart (or another number of classes) on a body that is related."""
    foreign = [t.name for t in relation.tensors if is_foreign(t)]
    kin = [t for t in relation.tensors if t.name not in foreign and t.distance < 0.5]
    other_size = [
        k for k in first.matrices if k in second.weights and second.weights[k].shape != first.weights[k].shape
    ]
    replaced = [*foreign, *other_size]
    if not replaced or not kin:
        return None
    last = {first.matrices[-1], second.matrices[-1]}
    body = [t for t in kin if t.p < 1]
    frozen = all(t.equal for t in body)
    forward = (
        judge_tuning(_without_tensors(first, replaced), _without_tensors(second, replaced)).forward
        if body and not frozen
        else 0.5
    )
    odds = math.log(forward / (1 - forward)) + _freshness_odds(first, second, replaced)
    kind = "re-initialised head" if set(replaced) <= last else "re-initialised layers"
    note = f"{', '.join(replaced[:3])} new" + (", the rest unchanged" if frozen else ", the rest tuned")
    return Judgement(kind, float(np.clip(1 / (1 + math.exp(-odds)), 0.02, 0.98)), 0.9, note)


def is_foreign(tensor: TensorRelation) -> bool:
    """A matrix that shares nothing with its counterpart: far from it, and no trace of its numbering."""
    return (
        tensor.p > _NO_TRACE
        and tensor.distance > _FRESH_DISTANCE
        and 0 < abs(tensor.cosine) < _FRESH_COSINE
        and tensor.rank > 1
    )


def _without_tensors(network: Network, names: list[str]) -> Network:
    return replace(network, weights={k: t for k, t in network.weights.items() if k not in names})


def _freshness_odds(first: Network, second: Network, names: list[str]) -> float:
    """Log odds that the second network's tensors are the newer ones: a fresh head is smaller and less uneven."""
    both = [k for k in names if k in second.weights and second.weights[k].shape == first.weights[k].shape]
    if not both:
        return 0.0
    ratio = np.mean(
        [
            float(
                (first.weights[k].norm() / second.weights[k].norm().clamp_min(1e-12)).clamp_min(1e-12).log()
            )
            for k in both
        ]
    )
    return float(np.clip(5.0 * ratio, -3, 3))


def judge_tuning(first: Network, second: Network) -> Judgement:
    """Kind and direction of a change by training, by trees; a counter of batches overrules them where the change is small."""
    forest, classes, slope = _load_rules()
    portraits = [portrait_of(n) for n in (first, second)]
    if not set(portraits[0].norms) & set(portraits[1].norms):
        return Judgement("fine-tuned", 0.5, 0.0, "too little in common to say more")
    ahead = softmax_of_trees(forest, tuning_features(first, second, *portraits))
    back = softmax_of_trees(forest, tuning_features(second, first, *portraits[::-1]))
    kinds = [c for c in classes if c not in (REVERSE, SIBLINGS)]
    forward_odds, other = dict(zip(classes, ahead)), dict(zip(classes, back))
    odds = math.log(support_of(classes, ahead, back) / support_of(classes, back, ahead))
    forward = float(np.clip(1 / (1 + math.exp(-slope * odds)), 0.02, 0.98))
    forward, note = _count_batches(first, second, forward)
    forward_odds, other = (
        {k: d[k] * _PRIOR.get(k, 1.0) for k in (*kinds, SIBLINGS)} for d in (forward_odds, other)
    )
    best, rest = (max(kinds, key=lambda k, d=d: d[k]) for d in (forward_odds, other))
    share = [d[k] / max(sum(d[j] for j in kinds), 1e-9) for d, k in ((forward_odds, best), (other, rest))]
    taught = [sum(d[k] for k in TAUGHT) / max(sum(d[j] for j in kinds), 1e-9) for d in (forward_odds, other)]
    apart = (forward_odds[SIBLINGS] + other[SIBLINGS]) / 2
    if apart > 0.6:
        note = f"{note}; both may come from a common start (probability {apart:.2f})".removeprefix("; ")
    return Judgement(
        best, forward, float(share[0]), note, rest, float(share[1]), note, float(taught[0]), float(taught[1])
    )


def support_of(classes: tuple[str, ...], ahead: np.ndarray, back: np.ndarray) -> float:
    """What speaks for a direction: any kind of training when read along it, the reverse of one when read against it."""
    kinds = [i for i, c in enumerate(classes) if c not in (REVERSE, SIBLINGS)]
    return float(ahead[kinds].sum() + back[classes.index(REVERSE)]) + 1e-6


def tuning_features(parent: Network, child: Network, portrait: Portrait, other: Portrait) -> np.ndarray:
    """(1, features): first those of the direction, then those of the change."""
    return np.concatenate([direction_features(parent, child, portrait, other), kind_features(parent, child)])[
        None
    ]


def softmax_of_trees(forest: Forest, features: np.ndarray) -> np.ndarray:
    """(classes,): softmax of the trees' sums for one row of features."""
    raw = forest.raw(features)[0]
    weights = np.exp(raw - raw.max())
    return weights / weights.sum()


_PORTRAITS: dict[int, tuple[Network, Portrait]] = {}


def portrait_of(network: Network) -> Portrait:
    """Drawn once for each network object; the object is kept beside it, so its id stays its own."""
    stored = _PORTRAITS.get(id(network))
    if stored is None or stored[0] is not network:
        if len(_PORTRAITS) > 512:
            _PORTRAITS.clear()
        stored = (network, draw_portrait(network))
        _PORTRAITS[id(network)] = stored
    return stored[1]


def _count_batches(first: Network, second: Network, forward: float) -> tuple[float, str]:
    """BatchNorm counts the batches it has seen. Training that goes on goes on counting; a fresh start begins at zero,
    so the counter is believed only where the weights are near each other.
    """
    common = [k for k in first.counters if k in second.counters]
    if not common:
        return forward, ""
    a, b = (max(n.counters[k] for k in common) for n in (first, second))
    near = sum(
        float(
            (first.weights[k] * second.weights[k]).sum()
            / (first.weights[k].norm() * second.weights[k].norm()).clamp_min(1e-12)
        )
        > 0.9
        for k in first.matrices
        if k in second.weights and second.weights[k].shape == first.weights[k].shape
    )
    if a == b or near < len(first.matrices) / 2:
        return forward, ""
    odds = math.log(forward / (1 - forward)) + (3.0 if b > a else -3.0)
    return 1 / (1 + math.exp(-odds)), f"batches counted: {a:,} and {b:,}"


@cache
def _load_rules() -> tuple[Forest, tuple[str, ...], float]:
    """The grown trees, their classes, and the slope of their log odds."""
    with as_file(files("digsite.read.judge") / RULES) as path, safe_open(path, "pt") as stored:
        tensors = {k: stored.get_tensor(k) for k in stored.keys()}  # noqa: SIM118
        about = stored.metadata() or {}
    return restore_forest(tensors), tuple(about["classes"].split(",")), float(about["slope"])


# How the rules for changes by training are grown from families of known descent, and how sure they may be.

TRAINED_KINDS = ("fine-tuned", "continued", "distilled", "repaired")
OPTIONS = {"max_iter": 100, "max_depth": 3, "learning_rate": 0.06, "class_weight": "balanced"}


@dataclass(frozen=True)
class Example:
    """A true edge (or two siblings): the features read forward and backward, and the recipe that it came from."""

    recipe: str
    kind: str
    forward: np.ndarray
    backward: np.ndarray

    @property
    def kind_back(self) -> str:
        """What it is when read from the child: siblings are siblings either way, all else is a reverse."""
        return SIBLINGS if self.kind == SIBLINGS else REVERSE


def describe_examples(
    recipe: str, networks: dict[str, Network], links: Sequence[tuple[str, str, str]]
) -> list[Example]:
    """Examples for the rules from one family. `links` are (parent, child, kind) with kinds of training, or of siblings.

    Siblings are a class of their own: two trainings from one start look like an edge that has no direction.
    """
    portraits = {name: draw_portrait(networks[name]) for name in {n for link in links for n in link[:2]}}

    def look(a: str, b: str) -> np.ndarray:
        return tuning_features(networks[a], networks[b], portraits[a], portraits[b])[0]

    return [Example(recipe, kind, look(a, b), look(b, a)) for a, b, kind in links]


def grow_rules(examples: Sequence[Example], path: Path, seed: int = 0) -> float:
    """Trees over all examples, saved; returns the slope that makes the stated probabilities true on recipes left out."""
    classes = (*TRAINED_KINDS, SIBLINGS, REVERSE)
    slope = _calibrate_slope(examples, classes, seed)
    forest = _grow_forest(examples, classes, seed)
    save_file(forest.tensors(), path, {"classes": ",".join(classes), "slope": f"{slope:.4f}", "format": "pt"})
    return slope


def _grow_forest(examples: Sequence[Example], classes: tuple[str, ...], seed: int) -> trees.Forest:
    """Trees over both readings of every example: forward under its kind, backward as the reverse."""
    x = np.stack([f for e in examples for f in (e.forward, e.backward)])
    y = [c for e in examples for c in (e.kind, e.kind_back)]
    return trees.grow_classes(x, np.array([classes.index(c) for c in y]), seed, **OPTIONS)


def _calibrate_slope(examples: Sequence[Example], classes: tuple[str, ...], seed: int) -> float:
    """Each recipe judged by rules that never saw it; the slope of the log odds with the highest likelihood."""
    odds = []
    for recipe in sorted({e.recipe for e in examples}):
        forest = _grow_forest([e for e in examples if e.recipe != recipe], classes, seed)
        for e in examples:
            if e.recipe == recipe and e.kind_back == REVERSE:
                ahead, back = (softmax_of_trees(forest, f[None]) for f in (e.forward, e.backward))
                odds.append(np.log(support_of(classes, ahead, back) / support_of(classes, back, ahead)))
    log_odds = np.array(odds)
    best = minimize_scalar(
        lambda s: float(np.logaddexp(0, -s * log_odds).sum()), bounds=(0.05, 2.0), method="bounded"
    )
    return float(best.x)
