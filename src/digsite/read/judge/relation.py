"""Are two networks related, and how far apart are they? One p-value for a pair, and what each tensor says.

The p-value is the chance that two networks that were trained apart agree as well about the numbering of their hidden
neurons (`core/correspondence.py`). Where the numbering says nothing, neurons are matched first, and the matched pairs
are set against how alike the neurons *inside* of one network are.
"""

from dataclasses import dataclass

import torch

from digsite.read.core.correspondence import Agreement, agreement_of_tensors, combine_p_values
from digsite.read.judge.matching import Match, match_networks
from digsite.read.judge.traces import find_rescaling
from digsite.read.subjects.network import Network, pair_names

RELATED = 0.05
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

    def unrelated_tensors(self) -> list[str]:
        """Matrices that show no trace of the other network although the networks are related."""
        own = [t for t in self.tensors if t.p < 1 or t.distance > 0]
        return [t.name for t in own if t.p > 0.01 / max(1, len(own)) and abs(t.cosine) < 0.5 and t.p < 1]


def relate_networks(first: Network, second: Network, search: bool = True) -> Relation:
    """`search`: also look for the same neurons in another order, which costs more than all the rest."""
    names = pair_names(first, second)
    common = [k for k in names if first.weights[k].ndim > 1]
    if not common:
        return Relation("excluded", 1.0, 1.0, (), reason=_why_excluded(first, second))
    tensors = tuple(_relate_tensor(k, first.weights[k], second.weights[j]) for k, j in names.items())
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
    match = match_networks(first, second, names)
    if match is not None and match.p < RELATED and (not direct or match.distance < 0.5 * distance):
        return Relation("matched", match.p, match.distance, tensors, match)
    if direct:
        return Relation("direct", _floor(p, distance), distance, tensors)
    reason = "one matrix only: nothing in it is numbered freely" if len(common) == 1 else ""
    return Relation("none", min(1.0, 2 * min(p, match.p if match else 1.0)), distance, tensors, match, reason)


def _looks_reordered(p: float, tensors: tuple[TensorRelation, ...]) -> bool:
    """Related only just, or in some tensors and not at all in others: perhaps only some neurons have other numbers."""
    foreign = [t for t in tensors if t.size > 64 and t.distance > 0.6 and abs(t.cosine) < 0.3]
    return p > 1e-6 or len(foreign) > 1


def _floor(p: float, distance: float) -> float:
    """Equal files are related, also where the test has no axis to work along."""
    return min(p, 1e-12) if distance < _SAME else p


def _relate_tensor(name: str, first: torch.Tensor, second: torch.Tensor) -> TensorRelation:
    a, b = first.flatten().double(), second.flatten().double()
    norms = float(a.norm()), float(b.norm())
    joint = (norms[0] ** 2 + norms[1] ** 2) ** 0.5
    distance = float((a - b).norm()) / joint if joint else 0.0
    cosine = float(a @ b) / (norms[0] * norms[1]) if min(norms) else 0.0
    ratio = float(torch.tensor(norms[1] / norms[0]).log()) if min(norms) else 0.0
    found = agreement_of_tensors(first, second) if first.ndim > 1 else Agreement(0.0, 1.0)
    return TensorRelation(name, a.numel(), distance, cosine, found.p, distance == 0.0, ratio, first.ndim)


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
