"""How much goes where: ways to spread a model's sparsity over its maps, the total met exactly.

Every class of this folder with `Allocation` as its base is one; a file may hold several. What an allocation may ask about a
model is a `Question`: the sizes of its maps, their scores, and how far a tried model is from the dense one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base import families
from digsite.base.errors import UsageError, name_nearest
from digsite.prune.core.layers import LayerBlock, LinearMap, component_of
from digsite.prune.core.scores.wanda import Wanda
from digsite.prune.core.walk import Residency, Statistics, walk_blocks

FAMILY = "digsite.prune.core.budget"
PLACES = 250  # a weight's place among those of its row, in steps of 0.4 %


@dataclass(frozen=True)
class BudgetSettings:
    """Numbers of the allocations."""

    spread: float = 0.2  # most that a map's sparsity may differ from the mean
    threshold: float = 5.0  # OWL: a score is outlying above this many times the layer's mean
    owl_spread: float = 0.08  # OWL: half the range of sparsities over layers
    evaluations: int = 200  # evolution: models that may be tried, the stated budget
    children: int = 8  # evolution: models of a generation
    rows: int = 8  # calibration rows on which a tried model is compared with the dense one
    seed: int = 0


@dataclass
class Question:
    """A dense model and the order in which every map would lose its weights.

    `places` says for every weight at which sparsity (in 1/250) it goes: the order of |W| |X| inside its row, measured
    once on the dense model. So a tried model costs one forward pass on a few rows, and no pruning.
    """

    model: nn.Module
    sparsity: float
    maps: dict[str, LinearMap]
    blocks: dict[str, list[str]]
    places: dict[str, UInt8[Tensor, "_ _"]]
    scores: dict[str, Float[Tensor, "_ _"]]
    rows: Tensor
    asked: int = 0
    _wanted: Tensor | None = field(default=None, repr=False)

    @property
    def sizes(self) -> dict[str, int]:
        """Weights of every map, by name."""
        return {name: ranks.numel() for name, ranks in self.places.items()}

    def component_of(self, name: str) -> str:
        """What the map is called inside its block."""
        return component_of(name)

    def limits(self, spread: float) -> tuple[float, float]:
        """The sparsities between which every map stays."""
        return max(0.0, self.sparsity - spread), min(0.98, self.sparsity + spread)

    def block_scores(self) -> dict[str, list[Float[Tensor, "_ _"]]]:
        """|W| |X| of the maps of every block."""
        return {block: [self.scores[name] for name in names] for block, names in self.blocks.items()}

    @torch.no_grad()
    def divergence(self, ratios: Mapping[str, float]) -> float:
        """KL(dense || pruned) per token when the named maps are pruned by these shares and no others are."""
        self.asked += 1
        if self._wanted is None:
            self._wanted = F.log_softmax(self._logits().float(), -1)
        before = {name: self.maps[name].weight.clone() for name in ratios}
        for name, ratio in ratios.items():
            gone = self.places[name] < round(ratio * PLACES)
            self.maps[name].replace(before[name].masked_fill(gone, 0))
        said = F.log_softmax(self._logits().float(), -1)
        for name, weight in before.items():
            self.maps[name].replace(weight)
        assert self._wanted is not None
        return float(
            F.kl_div(said.flatten(0, -2), self._wanted.flatten(0, -2), log_target=True, reduction="batchmean")
        )

    def _logits(self) -> Tensor:
        """Logits (rows, positions, vocabulary) of the model as it stands at this moment."""
        output = self.model(self.rows)
        return output if isinstance(output, Tensor) else output.logits


def ask_about(
    model: nn.Module,
    blocks: list[LayerBlock],
    inputs: Tensor,
    sparsity: float,
    *,
    rows: int = 8,
    residency: Residency | None = None,
) -> Question:
    """One pass through the dense model that ranks every weight; nothing is changed."""
    places: dict[str, Tensor] = {}
    scores: dict[str, Tensor] = {}

    def measure(block: LayerBlock, statistics: Statistics) -> None:
        for linear in block.maps:
            scores[linear.name] = Wanda().score_weights(linear.weight, statistics[linear.name])
            places[linear.name] = places_in_rows(scores[linear.name])

    walk_blocks(model, blocks, inputs, measure, residency=residency, gram=False)
    return Question(
        model,
        sparsity,
        {linear.name: linear for block in blocks for linear in block.maps},
        {block.name: [linear.name for linear in block.maps] for block in blocks},
        places,
        scores,
        inputs[:rows],
    )


def places_in_rows(scores: Float[Tensor, "out in"]) -> UInt8[Tensor, "out in"]:
    """For every weight the sparsity, in 1/250, from which on it is among its row's lowest."""
    order = scores.argsort(dim=1).argsort(dim=1)
    return (order.float() * PLACES / scores.shape[1]).floor().to(torch.uint8)


class Allocation(ABC):
    """A way to spread the sparsity of a model over its maps."""

    @abstractmethod
    def allocate_sparsity(self, question: Question, settings: BudgetSettings) -> dict[str, float]:
        """Wished sparsities by map name. They need not add up: `meet_exactly` shifts them by one constant and rounds, so
        that the number of pruned weights is the one that was asked for.
        """


Member = Allocation  # found by its name: the classes of this folder that derive from it


def allocation_named(name: str) -> str:
    """The family member's name; dashes are as good as underscores."""
    known, member = families.list_members(FAMILY), name.replace("-", "_")
    if member not in known:
        raise UsageError(f"There is no allocation '{name}'. {name_nearest(member, known)}")
    return member


def meet_exactly(
    wishes: Mapping[str, float],
    sizes: Mapping[str, int],
    sparsity: float,
    *,
    least: float = 0.0,
    most: float = 1.0,
) -> dict[str, int]:
    """Weights to prune in every map, as close to the wished ratios as one common shift allows; their sum is exact.

    `wishes` are sparsities and `sizes` weights by map name; the sum is `sparsity` of all weights, rounded. Every map
    stays between the sparsities `least` and `most`.
    """
    names = list(wishes)
    size = np.array([sizes[name] for name in names], dtype=np.int64)
    wished = np.array([wishes[name] for name in names], dtype=float)
    target = round(sparsity * int(size.sum()))
    low, high = np.ceil(least * size).astype(np.int64), np.floor(most * size).astype(np.int64)
    if not np.isfinite(wished).all():
        raise UsageError("An allocation wishes for a sparsity that is not a number; nothing was pruned.")
    if not low.sum() <= target <= high.sum():
        raise UsageError(
            f"A sparsity of {sparsity:.2%} cannot be met when every map keeps between {1 - most:.0%} and {1 - least:.0%}.",
            hint="Widen the spread, or choose another sparsity.",
        )
    exact = _shift_wishes(wished, size, target, low, high)
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")  # the largest remainders first
    room = order[counts[order] < high[order]]
    missing = target - int(counts.sum())
    counts[room[:missing]] += 1
    assert counts.sum() == target, (counts.sum(), target)
    return dict(zip(names, counts.tolist(), strict=True))


def _shift_wishes(
    wished: np.ndarray, size: np.ndarray, target: int, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Real counts with the right sum: the wishes plus one constant, cut to their limits; the constant by bisection."""

    def counts(shift: float) -> np.ndarray:
        return np.clip((wished + shift) * size, low, high)

    below, above = -2.0 - abs(wished).max(), 2.0 + abs(wished).max()
    for _ in range(200):
        middle = (below + above) / 2
        below, above = (middle, above) if counts(middle).sum() < target else (below, middle)
    return np.where(counts(above).sum() > target, counts(below), counts(above))
