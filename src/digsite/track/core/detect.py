"""From a curve to its jumps and transitions: guards, a detector by name, times in training steps, and why none can be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from digsite.base import families
from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.track.core import noise, smooth
from digsite.track.core.contrasts import rise_profile
from digsite.track.core.detectors import edge
from digsite.track.core.jumps import Change, Jump, Kind, measure_change, measured_transition, pool_q_values
from digsite.track.core.series import Series, make_series, need_samples

LEVEL_CHANGES: tuple[Kind, ...] = ("step", "ramp")
ALL_CHANGES: tuple[Kind, ...] = ("step", "ramp", "transition")
LEVEL = 0.05
MOST_TRANSITIONS = 3
NEAR = 5  # samples beyond a transition that still belong to it


@dataclass(frozen=True)
class Finds:
    """What was found in a series, or why the test for jumps does not apply to it (then `because` says so).

    `undated` says why a smooth rise that stands out is no transition, where none is dated.
    """

    jumps: list[Jump]
    because: str = ""
    undated: str = ""


@cache
def detector_family() -> Mapping[str, Any]:
    """Every detector by name."""
    return families.scan_family("digsite.track.core.detectors")


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
    """Jumps of one series `values` (n,) at training steps `steps` (n,), in time order. A constant series has none.

    `kinds` names what is returned: "step" and "ramp", and where asked for "kink", "spike" and "transition".

    `detector` names a member of `digsite.track.core.detectors`, `options` are its own (`alpha`, `max_changes`).
    """
    return jumps_of(make_series(values, steps), detector, kinds=kinds, **options)


def judge_jumps(
    values: ArrayLike, steps: ArrayLike | None = None, *, kinds: Iterable[Kind] = ALL_CHANGES
) -> Finds:
    """As `detect_jumps` with smooth transitions, and with the reason where the test does not apply to the series."""
    return finds_of(make_series(values, steps), kinds=kinds)


def jumps_of(
    series: Series, detector: str = "edge", *, kinds: Iterable[Kind] = LEVEL_CHANGES, **options: Any
) -> list[Jump]:
    """`options` are the detector's; `kinds` what counts as a jump."""
    return finds_of(series, detector, kinds=kinds, **options).jumps


def finds_of(
    series: Series, detector: str = "edge", *, kinds: Iterable[Kind] = LEVEL_CHANGES, **options: Any
) -> Finds:
    """Jumps of the wanted kinds in time order, and what the detector says where it cannot tell."""
    kinds = tuple(kinds)
    if detector not in detector_family():
        raise UsageError(f"There is no detector '{detector}'. {name_nearest(detector, detector_family())}")
    need_samples(series)
    if series.constant:
        return Finds([])
    rule = detector_family()[detector]
    verdict = rule.judge(series.values, **options)
    changes, because = verdict.changes, verdict.because
    wanted = [change for change in changes if change.kind in kinds]
    jumps = [measure_change(change, series.values, series.steps, wanted) for change in wanted]
    undated = ""
    if "transition" in kinds and rule.DATES_TRANSITIONS and verdict.applies:
        levels = [c for c in changes if c.kind in LEVEL_CHANGES]
        smooth_ones, shadows, undated = find_transitions(series, levels)
        jumps = [jump for jump in jumps if jump.index not in shadows] + smooth_ones
    return Finds(sorted(jumps, key=lambda jump: jump.step), because, undated)


def find_transitions(series: Series, levels: Sequence[Change]) -> tuple[list[Jump], set[int], str]:
    """Smooth transitions of a series, the indices of the level changes that are only a part of one, and why none is dated.

    Where an abrupt change and a transition overlap, the one that explains the series better stays.
    """
    ready = edge.prepare_values(series.values, logarithms=False)
    if ready.because:
        return [], set(), ""
    values = noise.cut_spikes(ready.values[None])[0]
    kept: list[Jump] = []
    shadows: set[int] = set()
    changes, undated = smooth.find_smooth_changes(values, LEVEL, MOST_TRANSITIONS, float(ready.quantum.max()))
    for change in changes:
        onset, end = (float(np.interp(x, np.arange(len(values)), ready.places)) for x in change.fit.span)
        inside = [c for c in levels if onset - NEAR <= c.index <= end + NEAR]
        profiles = [rise_profile(ready.places - c.index + 0.5, c.width) for c in inside]
        if all(smooth.fits_better(values, change.fit, profile) for profile in profiles):
            kept.append(measured_transition(change, series.steps[ready.places]))
            shadows |= {c.index for c in inside}
    return kept, shadows, undated


def jumps_of_all(
    many: Iterable[Series], detector: str = "edge", *, max_q: float = 1.0, **options: Any
) -> list[tuple[Series, list[Jump]]]:
    """Jumps of many layers, with q-values pooled over all of them; those of a q above `max_q` are left out."""
    return [(series, finds.jumps) for series, finds in finds_of_all(many, detector, max_q=max_q, **options)]


def finds_of_all(
    many: Iterable[Series], detector: str = "edge", *, max_q: float = 1.0, **options: Any
) -> list[tuple[Series, Finds]]:
    """What was found in many layers. Jumps and transitions have their q-values among their own kind.

    A series to which the test does not apply was not tested and counts in no pool.
    """
    pairs = [(series, finds_of(series, detector, **options)) for series in many]
    tests = sum(not finds.because for _, finds in pairs)
    smooth_ones = iter(pool_q_values(_of_kind(pairs, True), tests))
    abrupt_ones = iter(pool_q_values(_of_kind(pairs, False), tests))
    out = []
    for series, finds in pairs:
        named = [next(smooth_ones if jump.is_transition else abrupt_ones) for jump in finds.jumps]
        kept = [jump for jump in named if jump.q is None or jump.q <= max_q]
        out.append((series, replace(finds, jumps=kept)))
    return out


def _of_kind(pairs: list[tuple[Series, Finds]], transitions: bool) -> list[Jump]:
    """Transitions alone, or all others."""
    return [j for _, finds in pairs for j in finds.jumps if j.is_transition is transitions]
