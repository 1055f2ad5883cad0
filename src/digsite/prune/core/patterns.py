"""Which weights compete with each other: any ratio, or n of every m consecutive inputs."""

import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.prune.core.kernels import pick_engine


@dataclass(frozen=True)
class SparsityPattern:
    """`ratio` of the weights go; with `m`, exactly n of every m consecutive inputs of a row do.

    `count`, from an allocation, is how many weights of the matrix go, to the weight: methods round each in its own way.
    """

    ratio: float
    n: int = 0
    m: int = 0
    count: int | None = None

    @property
    def structured(self) -> bool:
        """Whether weights compete in groups of m."""
        return self.m > 0

    def __str__(self) -> str:
        return f"{self.n}:{self.m}" if self.structured else f"{self.ratio:.0%}"

    def fits(self, n_inputs: int, name: str = "the matrix") -> None:
        """Refuses inputs that do not fall into whole groups."""
        if self.structured and n_inputs % self.m:
            raise UsageError(
                f"The pattern {self} does not divide the {n_inputs} inputs of {name}.",
                hint=f"Choose an m that divides {n_inputs}, or an unstructured --sparsity.",
            )


def parse_pattern(sparsity: float | None = None, pattern: str | None = None) -> SparsityPattern:
    """A pattern from a ratio or from a text like '2:4' (the number pruned, the size of the group)."""
    if pattern:
        return _parse_groups(pattern)
    ratio = 0.5 if sparsity is None else sparsity
    if not 0 < ratio < 1:
        raise UsageError(f"The sparsity {ratio} is outside (0, 1).", hint="0.5 prunes half of the weights.")
    return SparsityPattern(ratio)


def _parse_groups(text: str) -> SparsityPattern:
    """The published way to write it: n pruned of every m."""
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise UsageError(
            f"'{text}' is not a pattern.", hint="Write n:m with 0 < n < m, for example 2:4 or 4:8."
        )
    n, m = int(match[1]), int(match[2])
    return SparsityPattern(n / m, n, m)


def prune_rows(
    scores: Float[Tensor, "out in"], ratio: float, out: Bool[Tensor, "out in"] | None = None
) -> Bool[Tensor, "out in"]:
    """True where a weight goes: the floor(in * ratio) lowest of every row, ties to the lower index."""
    count = int(scores.shape[1] * ratio)
    pruned = torch.empty_like(scores, dtype=torch.bool) if out is None else out
    if count == 0:
        return pruned.fill_(False)
    threshold, tied = _kth_of_rows(scores, count)
    if (
        scores.device.type == "cpu" and scores.dtype != torch.bfloat16
    ):  # torch's broadcast comparison is ten times slower
        np.less_equal(scores.numpy(), threshold.numpy(), out=pruned.numpy())
    else:
        torch.le(scores, threshold, out=pruned)
    for row in tied.nonzero().flatten().tolist():
        ties = (scores[row] == threshold[row]).nonzero().flatten()
        pruned[row, ties[len(ties) - int(pruned[row].sum()) + count :]] = False
    return pruned


def _kth_of_rows(
    scores: Float[Tensor, "out in"], k: int
) -> tuple[Float[Tensor, "out 1"], Bool[Tensor, "out"]]:
    """A limit that k of every row are at or below, and the rows where ties put more there.

    torch's own selection is some ten times slower on a CPU.
    """
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        threshold = scores.kthvalue(k, dim=1, keepdim=True).values
        return threshold, (scores <= threshold).sum(1) > k
    values = scores.detach().contiguous().numpy()
    limits, tied = pick_engine("auto", values.size).find_row_limits(values, k)
    return torch.from_numpy(limits), torch.from_numpy(tied)


def prune_together(scores: Float[Tensor, "out in"], ratio: float) -> Bool[Tensor, "out in"]:
    """True where a weight goes, all weights in one group: everything up to the value at place floor(size * ratio).

    That is one more than asked for, as the published implementations do it.
    """
    cut = int(scores.numel() * ratio)
    values = scores.flatten()
    if values.device.type == "cpu" and values.dtype == torch.float32:
        return scores <= float(np.partition(values.detach().numpy(), cut)[cut])
    return scores <= values.kthvalue(cut + 1).values


def prune_groups(scores: Float[Tensor, "out in"], pattern: SparsityPattern) -> Bool[Tensor, "out in"]:
    """True where a weight goes: the n lowest of every m consecutive inputs. Ties follow `torch.topk`."""
    rows, columns = scores.shape
    groups = scores.float().reshape(rows, columns // pattern.m, pattern.m)
    lowest = groups.topk(pattern.n, dim=-1, largest=False).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, lowest, True).reshape(rows, columns)


def count_violations(keep: Bool[Tensor, "out in"], pattern: SparsityPattern) -> int:
    """How many groups keep more than m - n weights: what stands between a mask and 2:4 hardware."""
    assert pattern.structured, "only an n:m pattern can be violated"
    kept = keep.reshape(keep.shape[0], -1, pattern.m).sum(-1)
    return int((kept > pattern.m - pattern.n).sum())


def settle_count(
    scores: Float[Tensor, "out in"], pruned: Bool[Tensor, "out in"], count: int
) -> Bool[Tensor, "out in"]:
    """`pruned` with exactly `count` weights: the lowest-scored kept ones go too, or the highest-scored pruned ones stay."""
    missing = count - int(pruned.sum())
    settled = pruned.clone().flatten()
    if missing > 0:
        settled[scores.masked_fill(pruned, torch.inf).flatten().topk(missing, largest=False).indices] = True
    elif missing < 0:
        settled[scores.masked_fill(~pruned, -torch.inf).flatten().topk(-missing).indices] = False
    return settled.view_as(pruned)
