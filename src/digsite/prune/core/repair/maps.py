"""Repairs of single maps: the best weights on a mask (least squares), and a better mask by exchanges (swaps).

**Least squares.** A row whose support is S minimizes |X w - t|^2 + ridge |w - w0|^2 over w that are zero outside of S. Each
row has its own S, so a closed form would need one Cholesky factorization per row; conjugate gradients need one matrix product
per step for all rows together, which on 576 inputs is some thirty times cheaper and converges in a few dozen steps because
the weights that the pruning method leaves are already close.

**Swaps.** What an exchange of one pruned and one kept weight of a row changes comes exactly from X^T X (SparseSwaps, arXiv
2512.10922); weights are not updated.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.repair import Repair, RepairSettings
from digsite.prune.core.scores import Decision

PAIR_BUDGET = 1 << 24  # exchanges weighed at once
PROMISING = 32  # inputs on either side of the exchanges that are weighed first


UNDER = "under-determined"


def say_short(n_tokens: int) -> str:
    """The clause of the ledger where a map has more inputs than the calibration has tokens."""
    return f"{UNDER}: {n_tokens} tokens for more inputs, so the ridge decides"


class LeastSquares(Repair):
    """Every map for itself: the kept weights that reproduce the dense map's output on the inputs it now gets."""

    LEVEL = "map"

    def repair_map(
        self,
        dense: Float[Tensor, "out in"],
        pruned: Decision,
        inputs: InputStatistics,
        pattern: SparsityPattern,
        settings: RepairSettings,
    ) -> Decision:
        """The optimum that SparseGPT's one sweep only approaches: its mask fixed, all kept weights free at once."""
        gram = inputs.gram
        weight = solve_on_support(
            gram,
            dense.float() @ gram,
            pruned.keep,
            pruned.weight.float(),
            ridge=settings.ridge,
            steps=settings.solver_steps,
        ).to(dense.dtype)
        note = pruned.note
        if inputs.n_tokens < inputs.n_inputs:  # the ridge then decides what the tokens leave open
            note = "; ".join(filter(None, [note, say_short(inputs.n_tokens)]))
        return Decision(pruned.keep, weight, note)


class Swaps(Repair):
    """Exchanges of one pruned and one kept weight of a row, wherever that lowers the map's output error (2512.10922)."""

    LEVEL = "map"

    def repair_map(
        self,
        dense: Float[Tensor, "out in"],
        pruned: Decision,
        inputs: InputStatistics,
        pattern: SparsityPattern,
        settings: RepairSettings,
    ) -> Decision:
        """A better mask with the weights before pruning: a method's own update made up for the errors of another mask."""
        keep, made = refine_mask(dense, pruned.keep, inputs.gram, pattern, settings.swaps)
        note = "; ".join(filter(None, [pruned.note, f"{made} swaps"]))
        return Decision(keep, dense.masked_fill(~keep, 0), note)


def solve_on_support(
    gram: Float[Tensor, "in in"],
    cross: Float[Tensor, "out in"],
    keep: Bool[Tensor, "out in"],
    start: Float[Tensor, "out in"],
    *,
    ridge: float = 0.01,
    steps: int = 40,
    tolerance: float = 1e-6,
) -> Float[Tensor, "out in"]:
    """Weights (out, in) that reproduce the targets best, zero wherever `keep` is False.

    `gram` is X^T X and `cross` is T^T X over the calibration tokens (any common scale); `start` is where the search
    begins and what the ridge pulls towards; `ridge` is a share of the mean diagonal of `gram`. With fewer tokens than
    inputs the problem is under-determined and only the ridge makes it well posed, so `ridge` must then be positive.
    """
    support = keep.to(gram.dtype)
    # A dead input has a zero diagonal: the ridge alone decides there, and it says "stay".
    pull = ridge * gram.diag().mean().clamp_min(1e-30)
    scale = 1.0 / (gram.diag() + pull)
    weight = start.to(gram.dtype) * support
    anchor = weight.clone()
    residual = (cross - weight @ gram) * support
    direction = residual * scale
    descent, first = (residual * direction).sum(1, keepdim=True), None
    for _ in range(steps):
        first = descent if first is None else first
        if bool((descent <= tolerance**2 * first).all()):
            break
        push = (direction @ gram + pull * direction) * support
        # A row that is already solved has no direction left; 0/0 there means a step of 0.
        length = descent / (direction * push).sum(1, keepdim=True).clamp_min(1e-30)
        weight += length * direction
        residual -= length * push
        scaled = residual * scale
        following = (residual * scaled).sum(1, keepdim=True)
        direction = scaled + following / descent.clamp_min(1e-30) * direction
        descent = following
    assert weight.shape == anchor.shape
    return weight


def squared_error(
    weight: Float[Tensor, "out in"], gram: Float[Tensor, "in in"], cross: Float[Tensor, "out in"]
) -> float:
    """|X w - t|^2 summed over rows, up to the constant |t|^2: what `solve_on_support` lowers."""
    return float(((weight @ gram) * weight - 2 * weight * cross).sum(dtype=torch.float64))


def refine_mask(
    weight: Float[Tensor, "out in"],
    keep: Bool[Tensor, "out in"],
    gram: Float[Tensor, "in in"],
    pattern: SparsityPattern,
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
    weight: Tensor, keep: Tensor, gram: Tensor, pattern: SparsityPattern, max_swaps: int
) -> tuple[Tensor, int]:
    """The best exchange of every row at once, again and again; rows that have none left drop out."""
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
    weight: Tensor, keep: Tensor, gram: Tensor, pattern: SparsityPattern
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
    """Exchanges inside of groups of m alone, since others would break the pattern."""
    rows, columns = weight.shape
    grouped = weight.reshape(rows, -1, m)
    blocks = torch.stack([gram[s : s + m, s : s + m] for s in range(0, columns, m)])
    change = take_back.reshape(rows, -1, m, 1) + give_up.reshape(rows, -1, 1, m)
    change -= 2 * grouped[..., :, None] * grouped[..., None, :] * blocks
    best = change.flatten(1).min(dim=1)
    group, inside = best.indices // (m * m), best.indices % (m * m)
    return best.values, group * m + inside // m, group * m + inside % m
