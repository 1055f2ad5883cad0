"""Are two networks related, and how far apart are they? One p-value for a pair, and what each tensor says.

The p-value is the chance that two networks that were trained apart agree as well about the numbering of their hidden
neurons (`core/correspondence.py`). Where the numbering says nothing, neurons are matched first, and the matched pairs
are set against how alike the neurons *inside* of one network are.
"""

import math
from dataclasses import dataclass

import torch

from digsite.read.core.correspondence import Agreement, agreement_of_tensors, combine_p_values
from digsite.read.judge.matching import Match, match_networks
from digsite.read.judge.traces import find_rescaling
from digsite.read.subjects.network import Network, pair_names

RELATED = 0.05
_CHEAP, _ALIKE = (
    20_000,
    0.05,
)  # weights up to which matching is always tried; gap of sorted norms up to which it is
_PART = 4_000_000  # entries that are turned to float64 at a time
_SAME = 1e-5  # relative distance up to which rounding is not told from equality


@dataclass(frozen=True)
class TensorRelation:
    """What one tensor says: distance over the joint norm, cosine, the test of its numbering, exact equality."""

    name: str
    size: int
    distance: float
    cosine: float
    p: float
    equal: bool
    log_norm_ratio: float  # log |second| - log |first|
    rank: int = 2  # axes of the tensor


@dataclass(frozen=True)
class Relation:
    """`how`: direct (as numbered), matched (in another order or scale), excluded (no common shape), none."""

    how: str
    p: float
    distance: float  # over all tensors that the two share, after matching where that was needed
    tensors: tuple[TensorRelation, ...]
    match: Match | None = None
    reason: str = ""
    rescaled: bool = False  # equal but for factors of rows and columns: the distance is then as good as zero

    @property
    def related(self) -> bool:
        return self.how in ("direct", "matched") and self.p < RELATED


def relate_networks(first: Network, second: Network, search: bool = True) -> Relation:
    """`search`: also look for the same neurons in another order, which costs more than all the rest."""
    names = pair_names(first, second)
    common = [k for k in names if first.weights[k].ndim > 1]
    if not common:
        return Relation("excluded", 1.0, 1.0, (), reason=_why_excluded(first, second))
    tensors = tuple(relate_tensor(k, first.weights[k], second.weights[j]) for k, j in names.items())
    p = combine_p_values([t.p for t in tensors if first.weights[t.name].ndim > 1])
    distance = joint_distance(tensors)
    direct = p < RELATED or distance < _SAME
    if (
        direct
        and distance > 0.05
        and names.keys() == first.weights.keys()
        and find_rescaling(first, second, common, names)
    ):
        return Relation("direct", p, 0.01, tensors, rescaled=True)
    if not search or (direct and not _looks_reordered(p, tensors)):
        return Relation("direct" if direct else "none", _floor(p, distance), distance, tensors)
    if first.size > _CHEAP and order_free_gap(first, second, names) > _ALIKE:
        match = None  # neurons of other norms altogether: no order makes them the same ones
    else:
        match = match_networks(first, second, names)
    if match is not None and match.p < RELATED and (not direct or match.distance < 0.5 * distance):
        return Relation("matched", match.p, match.distance, tensors, match)
    if direct:
        return Relation("direct", _floor(p, distance), distance, tensors)
    reason = "one matrix only: nothing in it is numbered freely" if len(common) == 1 else ""
    return Relation("none", min(1.0, 2 * min(p, match.p if match else 1.0)), distance, tensors, match, reason)


def order_free_gap(first: Network, second: Network, names: dict[str, str]) -> float:
    """How far the sorted norms of rows and of columns differ, over their size: nothing for a copy in another order."""
    gaps = []
    for k, j in names.items():
        a, b = first.weights[k], second.weights[j]
        if a.ndim > 1:
            for axis in (0, 1):
                x, y = (t.transpose(0, axis).flatten(1).norm(dim=1).sort().values for t in (a, b))
                gaps.append(float((x - y).norm() / x.norm().clamp_min(1e-12)))
    return sum(gaps) / max(1, len(gaps))


def _looks_reordered(p: float, tensors: tuple[TensorRelation, ...]) -> bool:
    """Related only just, or in some tensors and not at all in others: perhaps only some neurons have other numbers."""
    foreign = [t for t in tensors if t.size > 64 and t.distance > 0.6 and abs(t.cosine) < 0.3]
    return p > 1e-6 or len(foreign) > 1


def _floor(p: float, distance: float) -> float:
    """Equal files are related, also where the test has no axis to work along."""
    return min(p, 1e-12) if distance < _SAME else p


def relate_tensor(name: str, first: torch.Tensor, second: torch.Tensor) -> TensorRelation:
    """Distance, cosine and test of two tensors of one shape, summed in parts, so that little memory is needed beside them."""
    one = other = both = gap = 0.0
    for a, b in zip(first.flatten().split(_PART), second.flatten().split(_PART)):
        x, y = a.double(), b.double()
        one, other = one + float(x @ x), other + float(y @ y)
        both, gap = both + float(x @ y), gap + float((x - y).square().sum())
    norms, joint = (one**0.5, other**0.5), (one + other) ** 0.5
    distance = gap**0.5 / joint if joint else 0.0
    cosine = both / (norms[0] * norms[1]) if min(norms) else 0.0
    ratio = math.log(norms[1] / norms[0]) if min(norms) else 0.0
    found = agreement_of_tensors(first, second) if first.ndim > 1 else Agreement(0.0, 1.0)
    return TensorRelation(name, first.numel(), distance, cosine, found.p, distance == 0.0, ratio, first.ndim)


def joint_distance(tensors: tuple[TensorRelation, ...]) -> float:
    """Root mean square over the weights of all tensors, each tensor's gap over its own norm: no layer drowns the others."""
    size = sum(t.size for t in tensors)
    return float((sum(t.size * t.distance**2 for t in tensors) / max(1, size)) ** 0.5)


def _why_excluded(first: Network, second: Network) -> str:
    shapes = [{tuple(t.shape) for t in n.weights.values() if t.ndim > 1} for n in (first, second)]
    common = len(shapes[0] & shapes[1])
    return (
        f"different architectures: no matrix of '{first.name}' ({len(first.matrices)} matrices, {first.size:,} weights) has its "
        f"counterpart by name and shape in '{second.name}' ({len(second.matrices)}, {second.size:,}); {common} shapes in common"
    )
