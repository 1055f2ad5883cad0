"""Swap refinement: exchange one pruned and one kept weight of a row wherever that lowers the layer's output error.

The exact best exchange of every row comes from X^T X alone (SparseSwaps, arXiv 2512.10922); weights are not updated.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.prune.patterns import Pattern

PAIR_BUDGET = 1 << 24  # exchanges weighed at once


def refine(
    weight: Float[Tensor, "out in"],
    keep: Bool[Tensor, "out in"],
    gram: Float[Tensor, "in in"],
    pattern: Pattern,
    max_swaps: int = 100,
) -> tuple[Bool[Tensor, "out in"], int]:
    """A mask with the same count in every row (and group, for n:m), never worse in output error; swaps made."""
    step = max(1, PAIR_BUDGET // weight.shape[1] ** 2)
    done, total = [], 0
    for start in range(0, len(weight), step):
        rows, swaps = _refine_rows(
            weight[start : start + step].float(), keep[start : start + step].clone(), gram, pattern, max_swaps
        )
        done.append(rows)
        total += swaps
    return torch.cat(done), total


def _refine_rows(
    weight: Tensor, keep: Tensor, gram: Tensor, pattern: Pattern, max_swaps: int
) -> tuple[Tensor, int]:
    active, total = torch.arange(len(weight)), 0
    for _ in range(max_swaps):
        gain, back, out = _best_exchange(weight[active], keep[active], gram, pattern)
        # Rounding must not be mistaken for progress: a swap counts if it lowers the row's error visibly.
        better = gain < -1e-6 * _row_error(weight[active], keep[active], gram).clamp(min=1e-30)
        active, back, out = active[better], back[better], out[better]
        if len(active) == 0:
            break
        keep[active, back], keep[active, out] = True, False
        total += len(active)
    return keep, total


def _row_error(weight: Tensor, keep: Tensor, gram: Tensor) -> Tensor:
    lost = weight.masked_fill(keep, 0)
    return (lost @ gram * lost).sum(1)


def _best_exchange(
    weight: Tensor, keep: Tensor, gram: Tensor, pattern: Pattern
) -> tuple[Tensor, Tensor, Tensor]:
    """Per row: change of lost^T G lost for the best exchange, the input taken back, the input given up."""
    lost = weight.masked_fill(keep, 0)
    slope, curve = 2 * weight * (lost @ gram), weight**2 * gram.diag()
    take_back = torch.where(keep, torch.inf, curve - slope)
    give_up = torch.where(keep, curve + slope, torch.inf)
    if pattern.structured:
        return _best_in_groups(weight, gram, take_back, give_up, pattern.m)
    change = take_back[:, :, None] + give_up[:, None, :]
    change -= 2 * weight[:, :, None] * weight[:, None, :] * gram
    best = change.flatten(1).min(dim=1)
    return best.values, best.indices // weight.shape[1], best.indices % weight.shape[1]


def _best_in_groups(
    weight: Tensor, gram: Tensor, take_back: Tensor, give_up: Tensor, m: int
) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = weight.shape
    grouped = weight.reshape(rows, -1, m)
    blocks = torch.stack([gram[s : s + m, s : s + m] for s in range(0, columns, m)])
    change = take_back.reshape(rows, -1, m, 1) + give_up.reshape(rows, -1, 1, m)
    change -= 2 * grouped[..., :, None] * grouped[..., None, :] * blocks
    best = change.flatten(1).min(dim=1)
    group, inside = best.indices // (m * m), best.indices % (m * m)
    return best.values, group * m + inside // m, group * m + inside % m
