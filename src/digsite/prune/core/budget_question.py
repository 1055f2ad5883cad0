"""What an allocation may ask about a model: the sizes of its maps, their scores, and how far a tried model is from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.prune.core.layers import Block, LinearMap, component
from digsite.prune.core.scores import Settings, wanda
from digsite.prune.core.walk import Residency, Statistics, walk

PLACES = 250  # a weight's place among those of its row, in steps of 0.4 %


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
    places: dict[str, UInt8[Tensor, "out in"]]
    scores: dict[str, Float[Tensor, "out in"]]
    rows: Tensor
    asked: int = 0
    _wanted: Tensor | None = field(default=None, repr=False)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: place.numel() for name, place in self.places.items()}

    def component_of(self, name: str) -> str:
        """What the map is called inside its block."""
        return component(name)

    def limits(self, spread: float) -> tuple[float, float]:
        """The sparsities between which every map stays."""
        return max(0.0, self.sparsity - spread), min(0.98, self.sparsity + spread)

    def block_scores(self) -> dict[str, list[Float[Tensor, "out in"]]]:
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
        output = self.model(self.rows)
        return output if isinstance(output, Tensor) else output.logits


def ask_about(
    model: nn.Module,
    blocks: list[Block],
    inputs: Tensor,
    sparsity: float,
    *,
    rows: int = 8,
    residency: Residency | None = None,
) -> Question:
    """One pass through the dense model that ranks every weight; nothing is changed."""
    places: dict[str, Tensor] = {}
    scores: dict[str, Tensor] = {}

    def measure(block: Block, statistics: Statistics) -> None:
        for one in block.maps:
            scores[one.name] = wanda.score(one.weight, statistics[one.name], Settings())
            places[one.name] = places_in_rows(scores[one.name])

    walk(model, blocks, inputs, measure, residency=residency, gram=False)
    return Question(
        model,
        sparsity,
        {one.name: one for block in blocks for one in block.maps},
        {block.name: [one.name for one in block.maps] for block in blocks},
        places,
        scores,
        inputs[:rows],
    )


def places_in_rows(scores: Float[Tensor, "out in"]) -> UInt8[Tensor, "out in"]:
    """For every weight the sparsity, in 1/250, from which on it is among its row's lowest."""
    order = scores.argsort(dim=1).argsort(dim=1)
    return (order.float() * PLACES / scores.shape[1]).floor().to(torch.uint8)
