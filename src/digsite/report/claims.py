"""A claim as a row that people read: texts, a small picture of value, interval and null, and what stands or falls."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from digsite.record.results import Claim
from digsite.report.numbers import claim_texts, show_number, with_unit

MARGIN = 4.0  # percent of a picture's width that stays free on each side

SMALLEST_P = 1e-12  # rarer is not told apart


@dataclass(frozen=True)
class Picture:
    """Positions in percent of the picture's width."""

    value: float
    low: float | None
    high: float | None
    null: tuple[float, float] | None  # a point is an interval without width
    points: tuple[float, ...] = ()
    rivals: tuple[float, ...] = ()


@dataclass(frozen=True)
class Row:
    name: str  # the id
    title: str
    value: str
    interval: str
    null: str
    n: str
    note: str
    picture: Picture | None
    beside_null: str  # "above", "below", "covers", or "" where nobody can say
    outcome: str = ""  # "better than the null", "worse ...", "not told apart ...": what the side means
    null_is: str = ""
    rivals: tuple[tuple[str, str, str], ...] = ()  # name, value, note
    p: str = ""


@dataclass(frozen=True)
class Axis:
    """Claims on one axis: pictures in their order, what stands at its left, middle and right, and what the axis is."""

    pictures: tuple[Picture | None, ...]
    ticks: tuple[str, str, str]
    caption: str


def claim_rows(claims: Sequence[Claim]) -> list[Row]:
    return [claim_row(claim) for claim in claims]


def claim_row(claim: Claim) -> Row:
    value, interval, null = claim_texts(claim)
    n = "" if claim.n is None else str(claim.n)
    if not interval and len(claim.points) > 1:
        interval = f"points {', '.join(show_number(point, 3) for point in sorted(claim.points))}"
    rivals = tuple((r.name, with_unit(show_number(r.value), claim.unit), r.note) for r in claim.rivals)
    side = beside_null(claim)
    return Row(
        claim.name,
        claim.say_value,
        value,
        interval,
        null,
        n,
        claim.note,
        _axis_picture(claim),
        side,
        _outcome_of(claim, side),
        claim.null_is,
        rivals,
        "" if claim.p is None else f"corrected p {say_p(claim.p)}",
    )


def say_p(p: float) -> str:
    """How rare under the null; never "= 0", which no test of finitely many numbers can show."""
    return f"= {p:.2g}" if p >= SMALLEST_P else f"< {SMALLEST_P:.0e}"


def beside_null(claim: Claim) -> str:
    """On which side of the null, or of the null's own interval, the whole interval lies."""
    null = _null_text(claim)
    if claim.low is None or claim.high is None or null is None or claim.low == claim.high:
        return ""  # equal values on two seeds are not an interval
    return "above" if claim.low > null[1] else "below" if claim.high < null[0] else "covers"


def _outcome_of(claim: Claim, side: str) -> str:
    if side == "covers":
        return "not told apart from the null"
    if not side or not claim.better:
        return f"{side} the null" if side else ""
    return (
        "better than the null" if (side == "above") == (claim.better == "higher") else "worse than the null"
    )


def _null_text(claim: Claim) -> tuple[float, float] | None:
    low, high = (claim.null if end is None else end for end in (claim.null_low, claim.null_high))
    return None if low is None or high is None else (low, high)


def _axis_marks(claim: Claim) -> list[float]:
    rivals = [rival.value for rival in claim.rivals]
    ends = (claim.value, claim.low, claim.high, *(_null_text(claim) or ()), *claim.points, *rivals)
    return [end for end in ends if end is not None]


def _are_finite(claim: Claim) -> bool:
    return all(map(math.isfinite, _axis_marks(claim)))


def _axis_picture(claim: Claim) -> Picture | None:
    points = _axis_marks(claim)
    if claim.value is None or len(points) < 2 or not all(map(math.isfinite, points)):
        return None
    return _draw_axis(claim, min(points), max(points) - min(points))


def _draw_axis(claim: Claim, left: float, width: float, sign: float = 1.0) -> Picture:
    def place(value: float) -> float:
        if not width:
            return 50.0
        share = (value - left) / width
        return round(MARGIN + (100 - 2 * MARGIN) * (share if sign > 0 else 1 - share), 2)

    assert claim.value is not None
    ends = [None if end is None else place(end) for end in (claim.low, claim.high)]
    null = _null_text(claim)
    low, high = ends if sign > 0 else ends[::-1]
    beside = null and tuple(sorted((place(null[0]), place(null[1]))))
    rivals = tuple(place(rival.value) for rival in claim.rivals if rival.value is not None)
    return Picture(
        place(claim.value),
        low,
        high,
        beside and (beside[0], beside[1]),  # pyright: ignore[reportArgumentType]
        tuple(map(place, claim.points)),
        rivals,
    )


def common_axis(claims: Sequence[Claim]) -> Axis | None:
    """Claims of one unit on their own scale; of several units around their nulls, better to the right.

    `claims`: the headline, in order. None where nothing can be drawn.
    """
    known = [c for c in claims if c.value is not None and len(_axis_marks(c)) > 1 and _are_finite(c)]
    if not known:
        return None
    units = {(c.unit, "bounded" if all(abs(mark) <= 1 for mark in _axis_marks(c)) else c.kind) for c in known}
    return _own_scale(claims, known) if len(units) == 1 else _around_nulls(claims, known)


def _own_scale(claims: Sequence[Claim], known: Sequence[Claim]) -> Axis:
    marks = [mark for claim in known for mark in _axis_marks(claim)]
    low, high = min(marks), max(marks)
    if low >= 0 and high <= 1:
        low, high = (0.0, 1.0) if high - low > 0.2 else (low, high)
    width = high - low
    pictures = tuple(_draw_axis(c, low, width) if c in known else None for c in claims)
    left, middle, right = (
        with_unit(show_number(at, 3), known[0].unit) for at in (low, low + width / 2, high)
    )
    return Axis(pictures, (left, middle, right), "one scale for all rows")


def claim_axis(claims: Sequence[Claim | None]) -> Axis:
    """One claim of several runs on its own scale; a run without it, or without a number, has no picture."""
    known = [c for c in claims if c is not None and c.value is not None and _are_finite(c)]
    if not known:
        return Axis(tuple(None for _ in claims), ("", "", ""), "")
    marks = [mark for claim in known for mark in _axis_marks(claim)]
    low, high = min(marks), max(marks)
    pictures = tuple(_draw_axis(c, low, high - low) if c is not None and c in known else None for c in claims)
    left, middle, right = (
        with_unit(show_number(at, 3), known[0].unit) for at in (low, (low + high) / 2, high)
    )
    return Axis(pictures, (left, middle, right) if high > low else ("", middle, ""), "one scale for all runs")


def _around_nulls(claims: Sequence[Claim], known: Sequence[Claim]) -> Axis:
    pictures: list[Picture | None] = []
    for claim in claims:
        if claim not in known or claim.null is None:
            pictures.append(None)
            continue
        reach = max(abs(mark - claim.null) for mark in _axis_marks(claim)) or 1.0
        sign = -1.0 if claim.better == "lower" else 1.0
        pictures.append(_draw_axis(claim, claim.null - reach, 2 * reach, sign))
    return Axis(
        tuple(pictures),
        ("", "null", "better"),
        "each row in its own unit around its null, better to the right",
    )
