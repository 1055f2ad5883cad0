"""Pictures as positions in percent: a forest per claim, a scatter, a heat map of two settings, a curve per measurement.

Percent, because a page then draws them at any width without scripts and with texts that keep their size.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from digsite.record.results import Claim
from digsite.report.claims import Axis, Row, claim_axis, claim_row
from digsite.report.comparison import Comparison, pool_claims
from digsite.report.facts import Facts
from digsite.report.numbers import show_number, show_setting, with_unit

LEFT, RIGHT, TOP, BOTTOM = 13.0, 98.0, 4.0, 88.0  # of a scatter, in percent
COLORS = 8  # groups beyond these share the last color
SHADES = 9  # steps of a heat map: so many can be told apart beside each other
WORDS = 12  # different words on an axis; more than that cannot be read
FEW, APART = 8, 7.0  # chosen values are ticks themselves when so few stand so far apart (in percent)
CURVES, POINTS = 12, 240  # curves in one report, and points of each
LOG_FROM = 30  # an axis over more than this ratio is logarithmic


@dataclass(frozen=True)
class Forest:
    """One claim of several runs on one axis; a run without it has no row and no picture."""

    name: str
    title: str
    rows: tuple[Row | None, ...]
    axis: Axis
    is_same: bool  # every run says the same


@dataclass(frozen=True)
class Dot:
    """One run in a scatter, in percent of the picture."""

    x: float
    y: float
    low: float | None
    high: float | None
    group: int
    run: str
    text: str


@dataclass(frozen=True)
class Scatter:
    dots: tuple[Dot, ...]
    across: tuple[tuple[float, str], ...]  # places and texts of ticks
    up: tuple[tuple[float, str], ...]
    nulls: tuple[float, ...]  # where the claim's nulls lie, when they are few
    x: str
    y: str
    groups: tuple[str, ...]
    left_out: int


@dataclass(frozen=True)
class Cell:
    """All runs with one pair of values; `shade` None where there is no run."""

    text: str
    interval: str
    runs: tuple[str, ...]
    shade: int | None


@dataclass(frozen=True)
class HeatMap:
    across: str
    down: str
    claim: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    pooled: tuple[str, ...]  # settings that differ inside of a cell


def list_forests(compared: Comparison) -> list[Forest]:
    """A forest for every claim that has a null and an interval in some run, in the order of the headline."""
    by_run = [{claim.name: claim for claim in run.claims} for run in compared.runs]
    forests = []
    for name in compared.backed:
        claims = [known.get(name) for known in by_run]
        there = [claim for claim in claims if claim is not None]
        axis = claim_axis(claims)
        rows = tuple(None if claim is None else claim_row(claim) for claim in claims)
        same = len({(c.value, c.low, c.high, c.null) for c in there}) == 1 and len(there) == len(claims) > 1
        forests.append(Forest(name, there[0].say_value, rows, axis, same))
    return forests


def list_settings(runs: Sequence[Facts]) -> list[str]:
    """Settings that differ, which is what an axis can show."""
    paths = dict.fromkeys(path for run in runs for path in run.config)
    return [path for path in paths if len({repr(run.config.get(path)) for run in runs}) > 1]


def draw_scatter(runs: Sequence[Facts], x: str, y: str, by: str = "") -> Scatter | None:
    """Every run at its value of `x` and `y`, settings or claims by name, in a color for its value of `by`.

    None where fewer than two runs have both.
    """
    places = [(run, _value_of(run, x), _value_of(run, y)) for run in runs]
    known = [(run, a, b) for run, a, b in places if a is not None and b is not None]
    if len(known) < 2:
        return None
    claims = [_claim_of(run, y) for run, _, _ in known]
    ends = [end for c in claims if c for end in (c.low, c.high, c.null) if end is not None]
    across = _scale([a for _, a, _ in known], [], LEFT, RIGHT)
    up = _scale([b for _, _, b in known], ends, BOTTOM, TOP)
    names = [_group_name(run, by) for run, _, _ in known] if by else [""] * len(known)
    groups = tuple(sorted(set(names), key=_natural_key))
    dots = tuple(
        Dot(
            across.place(a),
            up.place(b),
            *_interval_places(claim, up),
            min(groups.index(name), COLORS - 1),
            run.name,
            _say_dot(run, x, a, y, b, claim, f"{by} {name}" if by else ""),
        )
        for (run, a, b), claim, name in zip(known, claims, names, strict=True)
    )
    nulls = sorted({c.null for c in claims if c and c.null is not None})
    drawn = tuple(up.place(null) for null in nulls) if len(nulls) <= 8 else ()
    return Scatter(dots, across.ticks, up.ticks, drawn, x, y, groups if by else (), len(runs) - len(known))


def draw_heat(runs: Sequence[Facts], across: str, down: str, claim: str) -> HeatMap | None:
    """A claim over two settings, pooled in each cell over whatever else differs; None where nobody has the claim."""
    cells: dict[tuple[str, str], list[tuple[Facts, Claim]]] = {}
    for run in runs:
        claimed = _claim_of(run, claim)
        if claimed is not None and claimed.value is not None:
            key = (show_setting(run.config.get(across)), show_setting(run.config.get(down)))
            cells.setdefault(key, []).append((run, claimed))
    if not cells:
        return None
    pooled = {key: pool_claims([c for _, c in pairs]) for key, pairs in cells.items()}
    values = [c.value for c in pooled.values() if c.value is not None]
    low, high = min(values), max(values)
    columns = sorted({a for a, _ in cells}, key=_natural_key)
    rows = sorted({b for _, b in cells}, key=_natural_key)
    shown = [path for path in list_settings(runs) if path not in (across, down)]
    drawn = tuple(
        (b, tuple(_heat_cell(cells.get((a, b), []), pooled.get((a, b)), low, high) for a in columns))
        for b in rows
    )
    return HeatMap(across, down, claim, tuple(columns), drawn, tuple(shown))


def _heat_cell(pairs: list[tuple[Facts, Claim]], claim: Claim | None, low: float, high: float) -> Cell:
    if claim is None or claim.value is None:
        return Cell("", "", (), None)
    row = claim_row(claim)
    share = (claim.value - low) / (high - low) if high > low else 0.5
    shade = min(SHADES - 1, int(share * SHADES)) if math.isfinite(share) else None
    return Cell(row.value, row.interval, tuple(run.name for run, _ in pairs), shade)


# Axes: numbers linear or logarithmic, words evenly.


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    words: tuple[str, ...]
    is_log: bool
    given: tuple[float, ...] = ()  # a few values that were chosen say more than round numbers between them

    def place(self, value: Any) -> float:
        at = float(self.words.index(show_setting(value))) if self.words else float(value)
        share = (self._bent(at) - self._bent(self.low)) / (self._bent(self.high) - self._bent(self.low))
        return round(self.start + share * (self.end - self.start), 2)

    def _bent(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        if self.words:
            every = -(-len(self.words) // WORDS)
            return tuple(
                (self._at_share(i), word[:14]) for i, word in enumerate(self.words) if i % every == 0
            )
        marks = self.given or (_log_ticks if self.is_log else nice_ticks)(self.low, self.high)
        return tuple((self.place(at), show_number(at, 3)) for at in marks)

    def _at_share(self, index: int) -> float:
        return round(self.start + (index - self.low) / (self.high - self.low) * (self.end - self.start), 2)


def _scale(values: list[Any], ends: list[float], start: float, end: float) -> _Scale:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numeric:
        words = tuple(sorted({show_setting(v) for v in values}, key=_natural_key))
        return _Scale(-0.5, len(words) - 0.5, start, end, words, False)
    marks = [float(v) for v in (*values, *ends) if math.isfinite(v)]
    low, high = min(marks), max(marks)
    if low > 0 and high / low >= LOG_FROM:
        plain = _Scale(low / 1.15, high * 1.15, start, end, (), True)
    else:
        pad = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        plain = _Scale(low - pad, high + pad, start, end, (), False)
    few = tuple(sorted({float(v) for v in values}))
    places = [plain.place(value) for value in few] if len(few) <= FEW else []
    apart = all(abs(b - a) >= APART for a, b in pairwise(places))
    return replace(plain, given=few) if places and apart and not ends else plain


def nice_ticks(low: float, high: float, n: int = 6) -> list[float]:
    """About `n` round numbers between the ends."""
    raw = (high - low) / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step)
    return [float(f"{i * step:.12g}") for i in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = (1, 2, 5) if len(powers) <= 4 else (1,)
    every = max(1, len(powers) // 6)
    marks = [m * 10.0**p for p in powers if p % every == 0 for m in fine]
    return [v for v in marks if low <= v <= high]


def _value_of(run: Facts, name: str) -> Any:
    """A setting, or a claim's value; None where it has neither or no axis can show it."""
    if name in run.config:
        value = run.config[name]
    else:
        claim = _claim_of(run, name)
        value = claim.value if claim else None
    is_bad = isinstance(value, float) and not math.isfinite(value)
    return None if is_bad else value


def _claim_of(run: Facts, name: str) -> Claim | None:
    return next((claim for claim in run.claims if claim.name == name), None)


def _group_name(run: Facts, by: str) -> str:
    value = run.study if by == "study" else _value_of(run, by)
    return show_number(value) if isinstance(value, float) else show_setting(value)


def _interval_places(claim: Claim | None, up: _Scale) -> tuple[float | None, float | None]:
    if claim is None or claim.low is None or claim.high is None or up.words:
        return None, None
    if not all(map(math.isfinite, (claim.low, claim.high))) or (up.is_log and claim.low <= 0):
        return None, None
    return up.place(claim.low), up.place(claim.high)


def _say_dot(run: Facts, x: str, a: Any, y: str, b: Any, claim: Claim | None, group: str) -> str:
    said = with_unit(show_number(b), claim.unit) if claim else show_setting(b)
    interval = f" ({claim_row(claim).interval})" if claim and claim.low is not None else ""
    null = f", null {show_number(claim.null)}" if claim and claim.null is not None else ""
    across = show_number(a) if isinstance(a, float) else show_setting(a)
    return f"{x} {across}, {y} {said}{interval}{null}{f', {group}' if group else ''} · {run.name}"


def _natural_key(text: str) -> tuple[int, float, str]:
    """Numbers by size, then words."""
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text


# Curves: what a run measured on its way.

Series = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Curve:
    """One measurement over steps: a path in percent for readers without scripts, and the points for those with."""

    name: str
    path: str
    points: str
    ends: tuple[str, ...]  # four: least and greatest value, first and last step
    last: str


def draw_curves(measured: Mapping[str, Series]) -> list[Curve]:
    """The first measurements that have a course; what was measured once or twice is a number and no curve."""
    courses = {name: series for name, series in measured.items() if len(series[0]) > 2}
    return [_draw_curve(name, *courses[name]) for name in list(courses)[:CURVES]]


def _draw_curve(name: str, steps: list[float], values: list[float]) -> Curve:
    x, y = thin_series(steps, values, POINTS)
    low, high, first, last = min(y), max(y), min(x), max(x)
    tall, wide = high - low or 1.0, last - first or 1.0
    places = [
        f"{100 * (a - first) / wide:.2f} {98 - 96 * (b - low) / tall:.2f}" for a, b in zip(x, y, strict=True)
    ]
    points = json.dumps(
        {"x": [float(f"{a:.8g}") for a in x], "y": [float(f"{b:.5g}") for b in y]}, separators=(",", ":")
    )
    ends = tuple(show_number(end, 3) for end in (low, high)) + tuple(
        show_number(end) for end in (first, last)
    )
    return Curve(name, "M" + "L".join(places), points, ends, show_number(values[-1]))


def thin_series(steps: list[float], values: list[float], points: int) -> Series:
    """At most `points`: the least and the greatest value of every bucket, in their order."""
    buckets = max(points // 2, 1)
    if len(values) <= max(points, 2):
        return steps, values
    y = np.asarray(values)
    edges = np.linspace(0, len(y), buckets + 1).astype(int)
    chosen = set()
    for start, end in pairwise(edges):
        if end > start:
            chosen |= {start + int(np.argmin(y[start:end])), start + int(np.argmax(y[start:end]))}
    keep = sorted(chosen)
    return [steps[i] for i in keep], [values[i] for i in keep]
