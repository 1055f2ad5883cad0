"""From a curve to its jumps: guards, a detector by name, and times in training steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from numpy.typing import ArrayLike

from digsite.base import families
from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError, nearest
from digsite.track.core.jumps import Jump, Kind, measured, pooled
from digsite.track.core.series import Series, make_series, need_samples

LEVEL_CHANGES: tuple[Kind, ...] = ("step", "ramp")


@cache
def detectors() -> Mapping[str, Any]:
    return families.scan("digsite.track.core.detectors")


@public_method(
    values=Numbers(1, finite=False, arrays_only=False), steps=Numbers(1, optional=True, arrays_only=False)
)
def detect_jumps(
    values: ArrayLike,
    steps: ArrayLike | None = None,
    detector: str = "edge",
    *,
    kinds: Iterable[Kind] = LEVEL_CHANGES,
    **options: Any,
) -> list[Jump]:
    """Jumps of one series, in time order. A constant series has none."""
    return jumps_of(make_series(values, steps), detector, kinds=kinds, **options)


def jumps_of(
    series: Series, detector: str = "edge", *, kinds: Iterable[Kind] = LEVEL_CHANGES, **options: Any
) -> list[Jump]:
    if detector not in detectors():
        raise UsageError(f"There is no detector '{detector}'. {nearest(detector, detectors())}")
    need_samples(series)
    if series.constant:
        return []
    changes = detectors()[detector].detect(series.values, **options)
    wanted = [change for change in changes if change.kind in tuple(kinds)]
    return [measured(change, series.values, series.steps, wanted) for change in wanted]


def jumps_of_all(
    many: Iterable[Series], detector: str = "edge", **options: Any
) -> list[tuple[Series, list[Jump]]]:
    """Jumps of many layers, with q-values pooled over all of them."""
    found = [(series, jumps_of(series, detector, **options)) for series in many]
    flat = pooled([jump for _, jumps in found for jump in jumps], len(found))
    q_values = iter(jump.q for jump in flat)
    return [(series, [replace(jump, q=next(q_values)) for jump in jumps]) for series, jumps in found]
