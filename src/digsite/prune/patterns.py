"""Which weights compete with each other: any ratio, or n of every m consecutive inputs."""

import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Pattern:
    """`ratio` of the weights go; with `m`, exactly n of every m consecutive inputs of a row do."""

    ratio: float
    n: int = 0
    m: int = 0

    @property
    def structured(self) -> bool:
        return self.m > 0

    def __str__(self) -> str:
        return f"{self.n}:{self.m}" if self.structured else f"{self.ratio:.0%}"

    def fits(self, n_inputs: int, name: str = "the matrix") -> None:
        if self.structured and n_inputs % self.m:
            raise UsageError(
                f"The pattern {self} does not divide the {n_inputs} inputs of {name}.",
                hint=f"Choose an m that divides {n_inputs}, or an unstructured --sparsity.",
            )


def parse(sparsity: float | None = None, pattern: str | None = None) -> Pattern:
    """A pattern from a ratio or from a text like '2:4' (the number pruned, the size of the group)."""
    if pattern:
        return _parse_groups(pattern)
    ratio = 0.5 if sparsity is None else sparsity
    if not 0 < ratio < 1:
        raise UsageError(f"The sparsity {ratio} is outside (0, 1).", hint="0.5 prunes half of the weights.")
    return Pattern(ratio)


def _parse_groups(text: str) -> Pattern:
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise UsageError(f"'{text}' is not a pattern.", hint="Write n:m with 0 < n < m, for example 2:4 or 4:8.")
    n, m = int(match[1]), int(match[2])
    return Pattern(n / m, n, m)


def prune_rows(scores: Float[Tensor, "out in"], ratio: float) -> Bool[Tensor, "out in"]:
    """True where a weight goes: the floor(in * ratio) lowest of every row, ties to the lower index."""
    count = int(scores.shape[1] * ratio)
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = _kth_of_rows(scores, count)
    pruned = scores <= threshold
    excess = pruned.sum(1) - count
    for row in excess.nonzero().flatten().tolist():
        ties = (scores[row] == threshold[row]).nonzero().flatten()
        pruned[row, ties[len(ties) - int(excess[row]) :]] = False
    return pruned


def _kth_of_rows(scores: Float[Tensor, "out in"], k: int) -> Float[Tensor, "out 1"]:
    """The k-th smallest of every row; numpy's vectorized selection is some ten times faster than torch's on a CPU."""
    if scores.device.type != "cpu" or scores.dtype not in (torch.float32, torch.float64):
        return scores.kthvalue(k, dim=1, keepdim=True).values
    return torch.from_numpy(np.partition(scores.detach().numpy(), k - 1, axis=1)[:, k - 1 : k].copy())


def prune_together(scores: Float[Tensor, "out in"], ratio: float) -> Bool[Tensor, "out in"]:
    """True where a weight goes, all weights in one group: everything up to the value at place floor(size * ratio).

    That is one more than asked for, as the published implementations do it.
    """
    place = int(scores.numel() * ratio)
    return scores <= _kth_of_rows(scores.reshape(1, -1), place + 1)


def prune_groups(scores: Float[Tensor, "out in"], pattern: Pattern) -> Bool[Tensor, "out in"]:
    """True where a weight goes: the n lowest of every m consecutive inputs. Ties follow `torch.topk`."""
    rows, columns = scores.shape
    groups = scores.float().reshape(rows, columns // pattern.m, pattern.m)
    lowest = groups.topk(pattern.n, dim=-1, largest=False).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, lowest, True).reshape(rows, columns)


def violations(keep: Bool[Tensor, "out in"], pattern: Pattern) -> int:
    """How many groups keep more than m - n weights: what stands between a mask and 2:4 hardware."""
    assert pattern.structured, "only an n:m pattern can be violated"
    kept = keep.reshape(keep.shape[0], -1, pattern.m).sum(-1)
    return int((kept > pattern.m - pattern.n).sum())
