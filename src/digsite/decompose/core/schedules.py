"""Learning-rate factors under the reference's names: what to multiply the rate by at a step."""

import math
from collections.abc import Callable

from digsite.base.errors import UsageError, name_nearest


def constant(share: float, step: int, halflife: float) -> float:
    return 1.0


def linear(share: float, step: int, halflife: float) -> float:
    return 1.0 - share


def cosine(share: float, step: int, halflife: float) -> float:
    """A quarter period: slow at first, at full slope when it reaches zero."""
    return math.cos(0.5 * math.pi * share)


def half_cosine(share: float, step: int, halflife: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def exponential(share: float, step: int, halflife: float) -> float:
    return 0.5 ** (step / halflife)


SCHEDULES: dict[str, Callable[[float, int, float], float]] = {
    f.__name__: f for f in (constant, linear, cosine, half_cosine, exponential)
}


def factor(
    name: str, step: int, total: int, *, warmup: float = 0.0, final: float = 0.0, halflife: float = 1000.0
) -> float:
    """`warmup` is the share of training with a linear rise; the schedule then runs from 1 down to `final`."""
    if name not in SCHEDULES:
        raise UsageError(f"'{name}' is not a schedule. {name_nearest(name, SCHEDULES)}")
    rise = int(total * warmup)
    if step < rise:
        return (step + 1) / rise
    share = (step - rise) / max(total - rise, 1)
    return final + (1 - final) * SCHEDULES[name](share, step - rise, halflife)
