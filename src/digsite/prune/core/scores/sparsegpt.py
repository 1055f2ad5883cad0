"""SparseGPT: prune a column at a time and let the later columns make up for the error; what stays may be rounded on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.kernels import pick_engine
from digsite.prune.core.patterns import SparsityPattern, prune_groups, prune_together
from digsite.prune.core.scores import Decision, WeightScore

# A grid of few values per output row, as the published rounding has it: minimum to maximum, zero always on the grid.


@dataclass(frozen=True)
class RoundingGrid:
    """`scale` and `zero` per row: value = scale * (level - zero) for levels 0 to `top`."""

    scale: Float[Tensor, "out"]
    zero: Float[Tensor, "out"]
    top: int

    def rounded(self, column: Float[Tensor, "out"]) -> Float[Tensor, "out"]:
        """One weight of every row on its row's grid; a pruned weight stays 0, which is on every grid."""
        level = (torch.round(column / self.scale) + self.zero).clamp(0, self.top)
        return self.scale * (level - self.zero)


def fit_rounding_grid(weight: Float[Tensor, "out in"], bits: int) -> RoundingGrid:
    """The asymmetric grid of `bits` bits between each row's least and largest weight (0 among them).

    It is read from the weights before pruning, so that updates cannot stretch it.
    """
    if not 2 <= bits <= 8:
        raise UsageError(
            f"Weights cannot be rounded to {bits} bits.", hint="Choose 2 to 8; 8 and 4 are usual."
        )
    low, high = weight.min(1).values.clamp(max=0), weight.max(1).values.clamp(min=0)
    empty = (low == 0) & (high == 0)
    low, high = torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)
    top = 2**bits - 1
    scale = (high - low) / top
    return RoundingGrid(scale, torch.round(-low / scale), top)


@dataclass(frozen=True)
class SparsegptSettings:
    """Numbers of the sweep, with the published defaults."""

    block: int = 128  # columns of a block, inside which errors are made up for at once
    damping: float = 0.01  # share of the mean Hessian diagonal added to it
    bits: int = 0  # round what stays to so many bits in the same sweep; 0 leaves it as it is


class Sparsegpt(WeightScore):
    """SparseGPT: prune a column at a time and let the later columns make up for the error (arXiv 2301.00774)."""

    NEEDS = "gram"
    Settings = SparsegptSettings

    def score_weights(self, weight: Tensor, inputs: InputStatistics | None) -> Tensor:
        """Scores at the start, before any update: w^2 over the squared diagonal of the inverse's Cholesky factor."""
        assert inputs is not None and inputs.hessian is not None, "SparseGPT reads X^T X"
        alive, inverse, _ = _prepare_hessian(weight.float(), inputs.hessian, self.settings.damping)
        return alive**2 / inverse.diag().reshape(1, -1) ** 2

    def prune_weight(
        self, weight: Tensor, inputs: InputStatistics | None, pattern: SparsityPattern
    ) -> Decision:
        """Block by block: scores are those at the entry of a block of columns, as published."""
        assert inputs is not None and inputs.hessian is not None, "SparseGPT reads X^T X"
        bits, width = self.settings.bits, self.settings.block
        remaining, inverse, dead = _prepare_hessian(weight.float(), inputs.hessian, self.settings.damping)
        pruned = torch.empty_like(remaining, dtype=torch.bool)
        grid = fit_rounding_grid(remaining, bits) if bits else None
        if pattern.structured:  # no group may straddle two blocks
            width = max(pattern.m, width - width % pattern.m)
        for start in range(0, remaining.shape[1], width):
            stop = min(start + width, remaining.shape[1])
            block = _prune_block(remaining[:, start:stop], inverse[start:stop, start:stop], pattern, grid)
            remaining[:, start:stop], pruned[:, start:stop], errors = block
            remaining[:, stop:] -= errors.matmul(inverse[start:stop, stop:])
        notes = [f"{int(dead.sum())} dead inputs zeroed"] if dead.any() else []
        note = "; ".join([*notes, f"rounded to {bits} bits"] if grid is not None else notes)
        return Decision(~pruned, remaining.to(weight.dtype), note)


def _prepare_hessian(weight: Tensor, hessian: Tensor, damping: float) -> tuple[Tensor, Tensor, Tensor]:
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
            hint="Raise it (settings.sparsegpt.damping=0.1, or --setting damping=0.1), or calibrate on more text.",
        ) from None


def _prune_block(
    weight: Float[Tensor, "out block"],
    inverse: Float[Tensor, "block block"],
    pattern: SparsityPattern,
    grid: RoundingGrid | None = None,
) -> tuple[Tensor, Bool[Tensor, "out block"], Tensor]:
    """New weights, what was pruned and the scaled errors of one block of columns.

    The block is held transposed: one column is then contiguous, and what it passes on streams through memory.
    """
    columns, inverse = weight.t().contiguous(), inverse.contiguous()
    errors, pruned = torch.empty_like(columns), torch.zeros_like(columns, dtype=torch.bool)
    width = pattern.m if pattern.structured else len(columns)
    catch_up, sweep = (
        _pick_steps(columns) if grid is None else (lambda *_: None, partial(_sweep_plain, grid=grid))
    )
    for first in range(0, len(columns), width):
        group = slice(first, first + width)
        catch_up(columns, inverse, errors, first, first + width)
        scores = columns[group].t() ** 2 / inverse.diag()[group].reshape(1, -1) ** 2
        pruned[group] = (
            prune_groups(scores, pattern) if pattern.structured else prune_together(scores, pattern.ratio)
        ).t()
        sweep(columns, inverse, pruned, errors, first, first + width)
    return columns.t(), pruned.t(), errors.t().contiguous()


def _pick_steps(columns: Tensor) -> tuple[Callable[..., None], Callable[..., None]]:
    """The compiled steps take every column's debts when its turn comes; the others pass errors on at once."""
    if columns.device.type == "cpu":
        kernel = pick_engine("auto", columns.numel() * len(columns))
        if hasattr(kernel, "sweep_columns"):
            return tuple(
                lambda *given, step=step: step(*(g.numpy() if isinstance(g, Tensor) else g for g in given))
                for step in (kernel.catch_up, kernel.sweep_columns)
            )  # pyright: ignore[reportReturnType]
    return lambda *_: None, _sweep_plain


def _sweep_plain(
    columns: Tensor,
    inverse: Tensor,
    pruned: Tensor,
    errors: Tensor,
    first: int,
    last: int,
    grid: RoundingGrid | None = None,
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
