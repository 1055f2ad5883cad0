"""SparseGPT: prune a column at a time and let the later columns make up for the error (arXiv 2301.00774)."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.kernels import engine
from digsite.prune.core.patterns import Pattern, prune_groups, prune_together
from digsite.prune.core.rounding import Grid, find_grid
from digsite.prune.core.scores import Decision, Settings

NEEDS = "gram"


def prune(weight: Tensor, inputs: InputStatistics | None, pattern: Pattern, settings: Settings) -> Decision:
    assert inputs is not None and inputs.hessian is not None
    remaining, inverse, dead = _prepare(weight.float(), inputs.hessian, settings.damping)
    pruned = torch.empty_like(remaining, dtype=torch.bool)
    grid = find_grid(remaining, settings.bits) if settings.bits else None
    width = settings.block
    if pattern.structured:  # no group may straddle two blocks
        width = max(pattern.m, width - width % pattern.m)
    for start in range(0, remaining.shape[1], width):
        stop = min(start + width, remaining.shape[1])
        block = _prune_block(remaining[:, start:stop], inverse[start:stop, start:stop], pattern, grid)
        remaining[:, start:stop], pruned[:, start:stop], errors = block
        remaining[:, stop:] -= errors.matmul(inverse[start:stop, stop:])
    notes = [f"{int(dead.sum())} dead inputs zeroed"] if dead.any() else []
    note = "; ".join([*notes, f"rounded to {settings.bits} bits"] if grid is not None else notes)
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
    weight: Float[Tensor, "out block"],
    inverse: Float[Tensor, "block block"],
    pattern: Pattern,
    grid: Grid | None = None,
) -> tuple[Tensor, Bool[Tensor, "out block"], Tensor]:
    """New weights, what was pruned and the scaled errors of one block of columns.

    The block is held transposed: one column is then contiguous, and what it passes on streams through memory.
    """
    columns, inverse = weight.t().contiguous(), inverse.contiguous()
    errors, pruned = torch.empty_like(columns), torch.zeros_like(columns, dtype=torch.bool)
    width = pattern.m if pattern.structured else len(columns)
    catch_up, sweep = _steps(columns) if grid is None else (lambda *_: None, partial(_sweep, grid=grid))
    for first in range(0, len(columns), width):
        group = slice(first, first + width)
        catch_up(columns, inverse, errors, first, first + width)
        scores = columns[group].t() ** 2 / inverse.diag()[group].reshape(1, -1) ** 2
        pruned[group] = (
            prune_groups(scores, pattern) if pattern.structured else prune_together(scores, pattern.ratio)
        ).t()
        sweep(columns, inverse, pruned, errors, first, first + width)
    return columns.t(), pruned.t(), errors.t().contiguous()


def _steps(columns: Tensor) -> tuple[Callable[..., None], Callable[..., None]]:
    """The compiled steps take every column's debts when its turn comes; the others pass errors on at once."""
    if columns.device.type == "cpu":
        kernel = engine("auto", columns.numel() * len(columns))
        if hasattr(kernel, "sweep"):
            return tuple(
                lambda *given, step=step: step(*(g.numpy() if isinstance(g, Tensor) else g for g in given))
                for step in (kernel.catch_up, kernel.sweep)
            )  # pyright: ignore[reportReturnType]
    return lambda *_: None, _sweep


def _sweep(
    columns: Tensor,
    inverse: Tensor,
    pruned: Tensor,
    errors: Tensor,
    first: int,
    last: int,
    grid: Grid | None = None,
) -> None:
    """With a grid the error that later columns take up is that of pruning and rounding together.

    Product and subtraction stay two roundings, as in the published implementation, so masks can agree bit for bit."""
    update = torch.empty_like(columns)
    for i in range(first, last):
        kept = columns[i].masked_fill(pruned[i], 0)
        kept = kept if grid is None else grid.rounded(kept)
        torch.div(columns[i] - kept, inverse[i, i], out=errors[i])
        if i + 1 < len(columns):
            torch.mul(inverse[i, i + 1 :, None], errors[i], out=update[i + 1 :])
            columns[i + 1 :] -= update[i + 1 :]
        columns[i] = kept
