"""SparseGPT: prune a column at a time and let the later columns make up for the error (arXiv 2301.00774)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.prune.inputs import InputStatistics
from digsite.prune.patterns import Pattern, prune_groups, prune_together
from digsite.prune.scores import Decision, Settings

NEEDS = "gram"


def prune(weight: Tensor, inputs: InputStatistics | None, pattern: Pattern, settings: Settings) -> Decision:
    assert inputs is not None and inputs.hessian is not None
    remaining, inverse, dead = _prepare(weight.float(), inputs.hessian, settings.damping)
    pruned = torch.empty_like(remaining, dtype=torch.bool)
    width = settings.block
    if pattern.structured:  # no group may straddle two blocks
        width = max(pattern.m, width - width % pattern.m)
    for start in range(0, remaining.shape[1], width):
        stop = min(start + width, remaining.shape[1])
        block = _prune_block(remaining[:, start:stop], inverse[start:stop, start:stop], pattern)
        remaining[:, start:stop], pruned[:, start:stop], errors = block
        remaining[:, stop:] -= errors.matmul(inverse[start:stop, stop:])
    note = f"{int(dead.sum())} dead inputs zeroed" if dead.any() else ""
    return Decision(~pruned, remaining.to(weight.dtype), note)


def score(weight: Tensor, inputs: InputStatistics | None, settings: Settings) -> Tensor:
    """Scores at the start, before any update: w^2 over the squared diagonal of the inverse's Cholesky factor."""
    assert inputs is not None and inputs.hessian is not None
    alive, inverse, _ = _prepare(weight.float(), inputs.hessian, settings.damping)
    return alive**2 / inverse.diag().reshape(1, -1) ** 2


def _prepare(weight: Tensor, hessian: Tensor, damping: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weights without dead inputs, the upper Cholesky factor of the damped inverse Hessian, the dead inputs."""
    hessian = hessian.clone()
    dead = hessian.diag() == 0
    hessian[dead, dead] = 1
    weight = weight.masked_fill(dead.reshape(1, -1), 0)
    hessian.diagonal().add_(damping * hessian.diag().mean())
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        return weight, torch.linalg.cholesky(inverse, upper=True), dead
    except torch.linalg.LinAlgError:
        raise UsageError(
            f"The Hessian of a {tuple(weight.shape)} matrix is not positive definite with damping {damping}; "
            "nothing was pruned there.",
            hint="Raise the damping (0.1), or calibrate on more text; magnitude is never put in silently.",
        ) from None


def _prune_block(
    weight: Float[Tensor, "out block"], inverse: Float[Tensor, "block block"], pattern: Pattern
) -> tuple[Tensor, Bool[Tensor, "out block"], Tensor]:
    """New weights, what was pruned and the scaled errors of one block of columns.

    The block is held transposed: one column is then contiguous, and its rank-one update streams through memory.
    Product and subtraction stay two roundings, as in the published implementation, so masks can agree bit for bit.
    """
    columns = weight.t().contiguous()
    diagonal = inverse.diag()
    pruned = torch.zeros_like(columns, dtype=torch.bool)
    if not pattern.structured:
        pruned = prune_together(weight**2 / diagonal.reshape(1, -1) ** 2, pattern.ratio).t().contiguous()
    errors, update = torch.empty_like(columns), torch.empty_like(columns)
    for i in range(len(columns)):
        if pattern.structured and i % pattern.m == 0:
            group = slice(i, i + pattern.m)
            scores = columns[group].t() ** 2 / diagonal[group].reshape(1, -1) ** 2
            pruned[group] = prune_groups(scores, pattern).t()
        kept = columns[i].masked_fill(pruned[i], 0)
        torch.div(columns[i] - kept, diagonal[i], out=errors[i])
        if i + 1 < len(columns):
            torch.mul(inverse[i, i + 1 :, None], errors[i], out=update[i + 1 :])
            columns[i + 1 :] -= update[i + 1 :]
        columns[i] = kept
    return columns.t(), pruned.t(), errors.t().contiguous()
