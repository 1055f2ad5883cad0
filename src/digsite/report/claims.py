"""A claim as a row that people read: texts, a small picture of value, interval and null, and what stands or falls."""

import math
from dataclasses import dataclass

from digsite.report.numbers import claim_texts
from digsite.runs.results import Claim


@dataclass(frozen=True)
class Picture:
    """Positions in percent of the picture's width."""

    value: float
    low: float | None
    high: float | None
    null: float | None


@dataclass(frozen=True)
class Row:
    name: str
    value: str
    interval: str
    null: str
    n: str
    note: str
    picture: Picture | None
    beats_null: bool | None  # None: there is no interval or no null, so nobody can say


def rows(claims: tuple[Claim, ...]) -> list[Row]:
    return [row(claim) for claim in claims]


def row(claim: Claim) -> Row:
    value, interval, null = claim_texts(claim)
    n = "" if claim.n is None else str(claim.n)
    return Row(claim.name, value, interval, null, n, claim.note, _picture(claim), clear_of_null(claim))


def clear_of_null(claim: Claim) -> bool | None:
    """Whether the interval leaves the null out."""
    if claim.low is None or claim.high is None or claim.null is None:
        return None
    return not claim.low <= claim.null <= claim.high


def _picture(claim: Claim) -> Picture | None:
    points = [v for v in (claim.value, claim.low, claim.high, claim.null) if v is not None]
    if claim.value is None or len(points) < 2 or not all(map(math.isfinite, points)):
        return None
    left, width = min(points), max(points) - min(points)

    def place(value: float | None) -> float | None:
        return None if value is None else 50.0 if not width else round(4 + 92 * (value - left) / width, 2)

    at = place(claim.value)
    assert at is not None
    return Picture(at, place(claim.low), place(claim.high), place(claim.null))
