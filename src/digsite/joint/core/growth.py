"""Parts of a trained map, followed back through its training.

A table of numbers to neurons (numbers, neurons) is split into parts of rank one. Its singular vectors are known up to rotations where
singular values are close, and then mix what the network keeps apart. Neurons mostly serve one purpose, so the rotation is chosen in
which each part speaks to few neurons. What a part reads is then a function of the numbers, and its growth is the share of the map's
energy along it, at each checkpoint.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from digsite.decompose.core.starts.known import rotate_to_sparse
from digsite.track.core.detect import ALL_CHANGES, judge_jumps
from digsite.track.core.formation import Formation, date_formation


@dataclass(frozen=True)
class Course:
    """One network's training: its weights at each step, what they do, and when each wave formed in the logits."""

    steps: np.ndarray
    params: dict[str, Tensor]  # (steps, ...)
    pairs: Tensor
    answers: Tensor
    test: Tensor

    @property
    def tables(self) -> Tensor:
        """(steps, numbers, neurons): what the first number sends to each neuron."""
        embedding, first = self.params["embed.weight"], self.params["l1.weight"]
        return embedding @ first[:, :, : embedding.shape[2]].mT

    def logits(self, at: int, without: Tensor | None = None) -> Tensor:
        """Of all pairs at a checkpoint, the embedding being blind to the directions `without` (numbers, n)."""
        embedding = self.params["embed.weight"][at].double()
        if without is not None and without.shape[1]:
            basis = torch.linalg.qr(without.double())[0]
            embedding = embedding - basis @ (basis.T @ embedding)
        joined = embedding[self.pairs].flatten(1)
        hidden = joined @ self.params["l1.weight"][at].double().T + self.params["l1.bias"][at].double()
        return hidden.relu() @ self.params["unembed.weight"][at].double().T

    def accuracy(self, at: int, without: Tensor | None = None) -> float:
        right = self.logits(at, without).argmax(-1) == self.answers
        return float(right[self.test].double().mean())


@dataclass(frozen=True)
class MapParts:
    """Parts that add up to a map, but for what little energy was left out: `reads` (numbers, parts) times `writes`."""

    reads: Float[Tensor, "numbers parts"]
    writes: Float[Tensor, "neurons parts"]

    @property
    def directions(self) -> Float[Tensor, "numbers parts"]:
        return self.reads / self.reads.norm(dim=0).clamp_min(1e-12)


def split_map(table: Float[Tensor, "numbers neurons"], energy: float) -> MapParts:
    """As many parts as hold `energy` of the table, turned so that each speaks to few neurons."""
    plain = split_singular_map(table, energy)
    sizes = plain.reads.norm(dim=0)
    turn = rotate_to_sparse(plain.writes)
    assert len(sizes) == len(turn)
    return MapParts(plain.reads @ turn, plain.writes @ turn)


def split_singular_map(table: Float[Tensor, "numbers neurons"], energy: float) -> MapParts:
    """The rival: singular parts as they come."""
    left, sizes, right = torch.linalg.svd(center_map(table), full_matrices=False)
    held = sizes.square().cumsum(0) / sizes.square().sum().clamp_min(1e-30)
    n = min(len(sizes), int((held < energy).sum()) + 1) if sizes[0] > 0 else 1
    return MapParts((left * sizes)[:, :n], right[:n].T)


def turn_parts(parts: MapParts, generator: torch.Generator) -> MapParts:
    """The null: the same sum in parts that a random rotation mixed."""
    n = parts.reads.shape[1]
    turn = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=parts.reads.dtype))[0]
    return MapParts(parts.reads @ turn, parts.writes @ turn)


def center_map(table: Float[Tensor, "... numbers neurons"]) -> Float[Tensor, "... numbers neurons"]:
    """Without the mean over numbers, which is a bias."""
    return table.double() - table.double().mean(-2, keepdim=True)


def follow_directions(
    tables: Float[Tensor, "steps numbers neurons"], directions: Float[Tensor, "numbers parts"]
) -> Float[np.ndarray, "steps parts"]:
    """The share of each table's energy along each direction of its numbers."""
    centered = center_map(tables)
    along = torch.einsum("spn,pc->scn", centered, directions.double()).square().sum(-1)
    return (along / centered.square().sum((1, 2))[:, None].clamp_min(1e-30)).numpy()


@dataclass(frozen=True)
class Growth:
    """When a part grew: `climb` is its largest rise (none for a curve that never rises), `jump` the step of the largest change
    that the jump detector finds and takes for real."""

    climb: Formation | None
    jump: float | None


def date_growth(steps: np.ndarray, curve: np.ndarray, *, detect: bool = True) -> Growth:
    jumps = judge_jumps(curve, steps, kinds=ALL_CHANGES).jumps if detect else []
    largest = max(jumps, key=lambda jump: jump.change, default=None)
    return Growth(
        date_formation(steps, curve), None if largest is None or largest.change <= 0 else largest.step
    )


def share_within(steps: np.ndarray, curve: np.ndarray, climb: Formation | None, window: Formation) -> float:
    """How much of a part's climb falls between onset and end of `window`."""
    if climb is None:
        return 0.0
    early, late = np.interp([window.onset, window.end], steps, curve)
    return float((late - early) / climb.climb)


# The same parts after the network was changed, by three measures of which each is a cosine for every direction.


def find_again(directions: Float[Tensor, "numbers parts"], parts: MapParts) -> Float[np.ndarray, "parts"]:
    """The nearest part of another decomposition by what it reads, whatever its sign: the basis may have changed, and the order."""
    own = directions / directions.norm(dim=0).clamp_min(1e-12)
    return (own.T.double() @ parts.directions.double()).abs().amax(1).numpy()


def compare_places(
    before: Float[Tensor, "numbers neurons"],
    after: Float[Tensor, "numbers neurons"],
    directions: Float[Tensor, "numbers parts"],
) -> Float[np.ndarray, "parts"]:
    """Whether a direction still speaks to the same neurons."""
    sent, now = (directions.double().T @ center_map(table) for table in (before, after))
    return torch.cosine_similarity(sent, now, dim=1).numpy()


def compare_effects(before: Tensor, after: Tensor) -> float:
    """Whether switching a direction off still does the same: cosine of two changes of all logits (inputs, answers), what is
    common to all answers left out."""
    earlier, other = (each - each.mean(-1, keepdim=True) for each in (before, after))
    return float(torch.cosine_similarity(earlier.flatten(), other.flatten(), dim=0))
