"""Swap refinement: exchange one pruned and one kept weight of a row wherever that lowers the layer's output error.

What an exchange changes comes exactly from X^T X (SparseSwaps, arXiv 2512.10922); weights are not updated.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.prune.core.patterns import Pattern

PAIR_BUDGET = 1 << 24  # exchanges weighed at once
PROMISING = 32  # inputs on either side of the exchanges that are weighed first


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
        better, back, out = _best_exchange(weight[active], keep[active], gram, pattern)
        active, back, out = active[better], back[better], out[better]
        if len(active) == 0:
            break
        keep[active, back], keep[active, out] = True, False
        total += len(active)
    return keep, total


def _best_exchange(
    weight: Tensor, keep: Tensor, gram: Tensor, pattern: Pattern
) -> tuple[Tensor, Tensor, Tensor]:
    """Per row: whether an exchange lowers lost^T G lost, the input it takes back, the input it gives up.

    An exchange among the promising is tried first; a row is left alone only when no exchange at all helps it.
    """
    lost = weight.masked_fill(keep, 0)
    pull = lost @ gram
    slope, curve = 2 * weight * pull, weight**2 * gram.diag()
    take_back = torch.where(keep, torch.inf, curve - slope)
    give_up = torch.where(keep, curve + slope, torch.inf)
    # Rounding must not be mistaken for progress: a swap counts if it lowers the row's error visibly.
    enough = -1e-6 * (lost * pull).sum(1).clamp(min=1e-30)
    if pattern.structured:
        gain, back, out = _best_in_groups(weight, gram, take_back, give_up, pattern.m)
        return gain < enough, back, out
    gain, back, out = _best_among(weight, gram, take_back, give_up, PROMISING)
    stuck = gain >= enough
    if stuck.any():
        gain[stuck], back[stuck], out[stuck] = _best_among(
            weight[stuck], gram, take_back[stuck], give_up[stuck], weight.shape[1]
        )
    return gain < enough, back, out


def _best_among(
    weight: Tensor, gram: Tensor, take_back: Tensor, give_up: Tensor, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best exchange between the `most` inputs that are best to take back and those best to give up by themselves."""
    backs, outs = (
        cost.topk(min(most, max(1, int(cost.isfinite().sum(1).max()))), dim=1, largest=False)
        for cost in (take_back, give_up)
    )
    change = backs.values[:, :, None] + outs.values[:, None, :]
    w_back, w_out = weight.gather(1, backs.indices), weight.gather(1, outs.indices)
    change -= (
        2 * w_back[:, :, None] * w_out[:, None, :] * gram[backs.indices[:, :, None], outs.indices[:, None, :]]
    )
    best = change.flatten(1).min(dim=1)
    width = change.shape[2]
    back = backs.indices.gather(1, (best.indices // width)[:, None]).squeeze(1)
    return best.values, back, outs.indices.gather(1, (best.indices % width)[:, None]).squeeze(1)


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
