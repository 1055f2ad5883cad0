"""What a pruning covers and how long it will take, said before anything is spent."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from digsite.models.opening.feeding import Batch
from digsite.prune.core import layers
from digsite.prune.core.layers import LinearMap
from digsite.prune.core.model import PrunedMap
from digsite.prune.core.walk import n_rows_of

OVERHEAD = 1.5  # attention, norms and the methods themselves, over the matrix products of the maps


def say_coverage(model: torch.nn.Module, kind: str, chosen: Sequence[LinearMap]) -> str:
    """Which share of the parameters will be pruned, and what is left alone, by reason."""
    total = sum(p.numel() for p in model.parameters())
    covered = sum(one.size for one in chosen)
    left = "; ".join(f"{one.reason} {one.share:.1%}" for one in layers.left_alone(model, chosen))
    return (
        f"{type(model).__name__} ({kind}): {len(chosen)} linear maps hold {covered / max(total, 1):.1%} of {total:,} "
        f"parameters; left as they are: {left or 'nothing'}"
    )


def say_cost(batch: Batch, chosen: Sequence[LinearMap], exact: bool, device: str, wanted: int) -> str:
    """Rows and tokens of the calibration, and the time they take by the speed of one matrix product here.

    `exact` methods also make X^T X; `wanted` is how many rows were asked for, where the data may have had fewer.
    """
    first = batch if isinstance(batch, Tensor) else next(iter(batch.values()))
    rows = n_rows_of(batch)
    if first.is_floating_point():
        return f"calibration: {rows} rows of {tuple(first.shape[1:])}"
    named: list[Tensor] = [first] if isinstance(batch, Tensor) else list(batch.values())
    tokens = sum(value.numel() for value in named if not value.is_floating_point())
    work = 4.0 * tokens * sum(one.size for one in chosen)
    if exact:
        work += 1.2 * tokens * sum(one.n_inputs**2 for one in chosen)  # q, k and v share theirs
    short = f" (the text has no more; {wanted} were wanted)" if rows < wanted else ""
    return (
        f"calibration: {rows} sequences of {tokens // rows} tokens{short}: {tokens:,} tokens, about "
        f"{_duration(OVERHEAD * work / measure_speed(device))} on this machine; fewer or shorter sequences cost less in "
        "proportion"
    )


def measure_speed(device: Any, size: int = 512, repeats: int = 4) -> float:
    """Operations per second of a matrix product."""
    a = torch.rand(size, size, device=device)
    (a @ a).sum().item()
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, a)
    (a @ a).sum().item()
    return 2.0 * size**3 * (repeats + 1) / max(time.perf_counter() - start, 1e-9)


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def say_result(ledger: Sequence[PrunedMap]) -> list[str]:
    """What really went, over all maps, and what was not pruned as asked."""
    size = sum(_size(one) for one in ledger)
    gone = sum(one.sparsity * _size(one) for one in ledger)
    lines = [f"pruned: {gone / max(size, 1):.2%} of the {size:,} weights of {len(ledger)} maps"]
    for note in sorted({one.note for one in ledger if one.note.startswith(("left", "no calibration token"))}):
        named = [one for one in ledger if one.note == note]
        share = sum(_size(one) for one in named) / max(size, 1)
        lines.append(f"{len(named)} maps ({share:.1%} of these weights), first {named[0].name}: {note}")
    return lines


def _size(one: PrunedMap) -> int:
    return one.mask.n_features * one.mask.n_bits
