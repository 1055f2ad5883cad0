"""Learning-rate schedules as tables: one factor per step and member."""

from collections.abc import Sequence

import torch
from torch import Tensor

from digsite.train.member import Member


def factor(step: Tensor, total: int, schedule: str, warmup: int, final: float) -> Tensor:
    """Factor on the base rate at `step` (0-based): linear warm-up, then the schedule down to `final`."""
    after = ((step - warmup) / max(total - warmup, 1)).clamp(0, 1)
    if schedule == "cosine":
        value = final + (1 - final) * (1 + torch.cos(torch.pi * after)) / 2
    elif schedule == "linear":
        value = 1 - (1 - final) * after
    else:
        value = torch.ones_like(after)
    return torch.where(step < warmup, (step + 1) / max(warmup, 1), value)


def rate_table(members: Sequence[Member], totals: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Learning rates (steps, K), one column per member; float64 inside so that long tables stay exact."""
    step = torch.arange(max(totals, default=0), dtype=torch.float64)
    columns = [
        m.lr * factor(step, total, m.schedule, m.warmup, m.final_lr)
        for m, total in zip(members, totals, strict=True)
    ]
    return torch.stack(columns, dim=1).to(dtype) if columns else torch.empty(0, 0, dtype=dtype)
