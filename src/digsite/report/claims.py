"""A claim as a row that people read: texts, a small picture of value, interval and null, and what stands or falls."""

import math
from dataclasses import dataclass

from digsite.record.results import Claim
from digsite.report.numbers import claim_texts


@dataclass(frozen=True)
class Picture:
    """Positions in percent of the picture's width."""

    value: float
    low: float | None
    high: float | None
    null: tuple[float, float] | None  # a point is an interval without width


@dataclass(frozen=True)
class Row:
    name: str
    value: str
    interval: str
    null: str
    n: str
    note: str
    picture: Picture | None
    beside_null: str  # "above", "below", "covers", or "" where nobody can say


def rows(claims: tuple[Claim, ...]) -> list[Row]:
    return [row(claim) for claim in claims]


def row(claim: Claim) -> Row:
    value, interval, null = claim_texts(claim)
    n = "" if claim.n is None else str(claim.n)
    return Row(claim.name, value, interval, null, n, claim.note, _picture(claim), beside_null(claim))


def beside_null(claim: Claim) -> str:
    """On which side of the null, or of the null's own interval, the whole interval lies."""
    null = _null(claim)
    if claim.low is None or claim.high is None or null is None or claim.low == claim.high:
        return ""  # equal values on two seeds are not an interval
    return "above" if claim.low > null[1] else "below" if claim.high < null[0] else "covers"


def _null(claim: Claim) -> tuple[float, float] | None:
    low, high = (claim.null if end is None else end for end in (claim.null_low, claim.null_high))
    return None if low is None or high is None else (low, high)


def _picture(claim: Claim) -> Picture | None:
    null = _null(claim)
    points = [v for v in (claim.value, claim.low, claim.high, *(null or ())) if v is not None]
    if claim.value is None or len(points) < 2 or not all(map(math.isfinite, points)):
        return None
    left, width = min(points), max(points) - min(points)

    def place(value: float) -> float:
        return 50.0 if not width else round(4 + 92 * (value - left) / width, 2)

    low, high = (None if end is None else place(end) for end in (claim.low, claim.high))
    return Picture(place(claim.value), low, high, null and (place(null[0]), place(null[1])))
