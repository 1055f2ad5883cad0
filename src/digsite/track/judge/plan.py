"""Which steps to keep weights at: a log-then-linear backbone and brackets around confirmed jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.track.core.jumps import Jump


@dataclass(frozen=True)
class Bracket:
    """Steps before, during and after one jump."""

    jump_step: float
    layer: str
    before: int
    during: int
    after: int


@dataclass(frozen=True)
class CheckpointPlan:
    """All times are training steps. `dropped` jumps did not fit into the budget."""

    steps: tuple[int, ...]
    backbone: tuple[int, ...]
    brackets: tuple[Bracket, ...]
    dropped: int
    total_bytes: int

    def as_json(self) -> dict[str, Any]:
        return {"unit": "training steps"} | asdict(self)


def log_then_linear(total: int, linear_every: int) -> list[int]:
    """0, 1, 2, 4 ... up to the spacing, then multiples of it, and the last step."""
    doubling = [0, *(2**k for k in range(max(int(math.log2(max(linear_every, 1))), 0) + 1))]
    return sorted(
        {s for s in (*doubling, *range(linear_every, total + 1, linear_every), total) if s <= total}
    )


@public_method()
def plan_checkpoints(
    jumps: Sequence[Jump | tuple[str, Jump]],
    total_steps: int,
    *,
    backbone: int = 20,
    max_q: float = 0.05,
    checkpoint_bytes: int = 0,
    budget_bytes: int | None = None,
) -> CheckpointPlan:
    """Backbone of about `backbone` linear steps; confirmed jumps get three steps each, by q and then by size."""
    if total_steps < 1:
        raise UsageError(f"A run of {total_steps} steps has nothing to keep.")
    spine = log_then_linear(total_steps, max(total_steps // backbone, 1))
    room = len(spine) if budget_bytes is None or checkpoint_bytes <= 0 else budget_bytes // checkpoint_bytes
    limited = budget_bytes is not None and checkpoint_bytes > 0
    if limited and room < 2:
        raise UsageError(
            f"A budget of {budget_bytes} bytes holds {room} checkpoints of {checkpoint_bytes} bytes; two are needed."
        )
    spine = _thin(spine, room) if limited else spine
    named = [j if isinstance(j, tuple) else ("", j) for j in jumps]
    confirmed = [(layer, j) for layer, j in named if j.q is None or j.q <= max_q]
    confirmed.sort(key=lambda pair: (pair[1].q or 0.0, -abs(pair[1].relative_change)))
    steps, brackets = set(spine), []
    for layer, jump in confirmed:
        bracket = _bracket(layer, jump, total_steps)
        wanted = steps | {bracket.before, bracket.during, bracket.after}
        if limited and len(wanted) > room:
            continue
        steps = wanted
        brackets.append(bracket)
    ordered = tuple(sorted(brackets, key=lambda b: b.jump_step))
    kept = tuple(sorted(steps))
    return CheckpointPlan(
        kept, tuple(spine), ordered, len(confirmed) - len(brackets), len(kept) * checkpoint_bytes
    )


def _bracket(layer: str, jump: Jump, total: int) -> Bracket:
    """The interval of the jump's place, widened by half its duration: before is surely before."""
    reach = max(jump.width / 2, 1.0)
    before = math.floor(min(jump.low, jump.step - reach))
    after = math.ceil(max(jump.high, jump.step + reach))
    clip = lambda step: min(max(step, 0), total)  # noqa: E731
    return Bracket(jump.step, layer, clip(before), clip(round(jump.step)), clip(after))


def _thin(steps: list[int], room: int) -> list[int]:
    """Half of the budget at most, first and last always among them, evenly in rank."""
    keep = max(min(len(steps), room // 2), 2)
    return sorted({steps[round(i * (len(steps) - 1) / (keep - 1))] for i in range(keep)})
