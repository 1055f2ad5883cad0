"""A fine-tuned sibling written as changes of its base's parts plus parts that are new.

What inputs do to answers is summed up in one map from inputs to answers: the product of the layers, of which the middle ones keep
their positive weights (with rectified neurons these carry on what arrives). The base's map is split into parts that each write to few
answers. The sibling's map is as much of each of these parts as fits it best, and what is left over is split in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.decompose.core.starts.known import rotate_to_sparse

PathMap = Float[Tensor, "answers inputs"]


@dataclass(frozen=True)
class Change:
    """One part of a difference: what it writes to the answers, what it reads, how large it is, and whether the base has it."""

    writes: Float[Tensor, " answers"]
    reads: Float[Tensor, " inputs"]
    size: float
    new: bool = True

    @property
    def answer(self) -> int:
        """The answer that it moves most."""
        return int(self.writes.abs().argmax())

    @property
    def towards(self) -> Float[Tensor, " inputs"]:
        """What an input must be like for that answer to gain."""
        return self.reads * self.writes[self.answer].sign()


def map_paths(weights: Sequence[Tensor]) -> PathMap:
    """One map of a network's layers, first to last; answers are told apart, so their mean is taken out."""
    last = weights[-1].double()
    path = last - last.mean(0, keepdim=True)
    for weight in reversed(weights[1:-1]):
        path = path @ weight.double().clamp_min(0)
    return path @ weights[0].double()


def split_by_answers(paths: PathMap, n: int) -> list[Change]:
    """The `n` largest singular parts turned so that each writes to few answers, the largest first."""
    left, sizes, right = (each[..., :n] for each in _decompose(paths))
    turn = rotate_to_sparse(left * sizes)
    return _in_order((left * sizes) @ turn, turn.T @ right.T)


def split_singular(paths: PathMap, n: int) -> list[Change]:
    """A rival: singular parts of the difference as they come."""
    left, sizes, right = (each[..., :n] for each in _decompose(paths))
    return _in_order(left * sizes, right.T)


def split_rows(paths: PathMap, n: int) -> list[Change]:
    """A rival: the rows of the difference, each the part of one answer."""
    rows = paths.norm(dim=1).argsort(descending=True)[:n]
    return _in_order(torch.eye(len(paths), dtype=paths.dtype)[:, rows], paths[rows])


def split_randomly(paths: PathMap, n: int, generator: torch.Generator) -> list[Change]:
    """The null: parts of the difference along random directions of the inputs."""
    drawn = torch.linalg.qr(torch.randn(paths.shape[1], n, generator=generator, dtype=paths.dtype))[0]
    return _in_order(paths @ drawn, drawn.T)


def tell_changes(base: PathMap, sibling: PathMap, n: int) -> list[Change]:
    """Changes of the base's parts and new parts together, the largest first; at most `n` new ones."""
    known = split_by_answers(base, int(torch.linalg.matrix_rank(base)))
    writes = torch.stack([part.writes / part.writes.norm() for part in known], 1)
    reads = torch.stack([part.reads / part.reads.norm() for part in known])
    overlap = (writes.T @ writes) * (reads @ reads.T) + 1e-6 * torch.eye(len(known), dtype=base.dtype)
    before, after = (
        torch.linalg.solve(overlap, torch.einsum("ak,ai,ki->k", writes, paths, reads))
        for paths in (base, sibling)
    )
    changed = [
        Change(writes[:, k] * (after - before)[k], reads[k], float((after - before)[k].abs()), new=False)
        for k in range(len(known))
    ]
    left = sibling - (writes * after) @ reads
    return sorted([*changed, *split_by_answers(left, n)], key=lambda part: -part.size)


def _decompose(paths: PathMap) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors, values and right vectors, each with the parts along its last axis."""
    left, sizes, right = torch.linalg.svd(paths, full_matrices=False)
    return left, sizes, right.T


def _in_order(writes: Tensor, reads: Tensor) -> list[Change]:
    sizes = writes.norm(dim=0) * reads.norm(dim=1)
    order = sizes.argsort(descending=True).tolist()
    return [Change(writes[:, k], reads[k], float(sizes[k])) for k in order]
