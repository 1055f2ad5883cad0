"""Verdicts whose numbers are claims: written from them by name, and refused where a number is none of them.

A room writes `f"Found in {cite('recovered')} of the runs, by chance in {cite('recovered', 'null')}."`; the run fills the
numbers in when all claims are made, and checks whatever else looks like a number.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from digsite.base.errors import DigsiteError
from digsite.record.results import Cited, Claim

CITED = re.compile(r"\{([^{}|]+)\|([^{}|]+)\|([^{}|]*)\}")
PARTS = ("value", "low", "high", "interval", "null", "n", "p", "hits")
MINUS = "\u2212"
# What is not a result: 'quoted' names, words with digits in them (S5, R2, layer1, k=8, tms_5-2, 2:4), "95 % interval".
NAMES = re.compile(
    r"'[^']*'|`[^`]*`|95 % interval|\b[\w./-]*[A-Za-z_][\w./-]*\d[\w./:-]*|\b\w+=\d+\b(?!\.\d)|\b\d+:\d+\b|\b\d+\.[A-Za-z_][\w.]*|\b\d+[A-Za-z]\w*"
)
NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\d[\d\u202f,]*(?:\.\d+)?(?:e[-+]?\d+)?(\s?%)?")
NOT_A_NUMBER = re.compile(r"\b(nan|inf|infinity|not finite|None)\b")


class VerdictRefused(DigsiteError):
    """A sentence that says more than the run knows."""


def cite(claim: str, part: str = "value", style: str = "") -> str:
    """A place in a verdict that the run fills in.

    `claim`: the id of a claim or measurement. `part`: one of PARTS, or the name of a rival. `style`: how Python's
    `format` writes the number, where the claim's kind does not say it well.
    """
    assert not set("{}|") & set(claim + part + style), f"{claim!r} cannot be cited"
    return f"{{{claim}|{part}|{style}}}"


def fill_verdict(text: str, claims: Sequence[Claim]) -> tuple[str, tuple[Cited, ...]]:
    """The text with its numbers filled in, and which claim each of its numbers is.

    `text`: with places made by `cite`. `claims`: all claims and measurements of the run. A number that is none of them,
    at the precision at which it is written, is refused: a sentence must not know more than the results.
    """
    known = {claim.name: claim for claim in claims}
    cited: list[Cited] = []

    def filled(match: re.Match[str]) -> str:
        name, part, style = match.groups()
        if name not in known:
            raise VerdictRefused(
                f"The verdict cites '{name}', which this run does not claim.",
                hint="Claim it first: run.claim(NAME, VALUE, ...)",
            )
        said = part_text(known[name], part, style)
        cited.append(Cited(said, name, part))
        return said

    shown = CITED.sub(filled, text)
    if nothing := NOT_A_NUMBER.search(NAMES.sub(" ", shown)):
        raise VerdictRefused(
            f"The verdict says '{nothing.group()}' where a number should be: \"{shown}\"",
            hint="Write the sentence for the case in which this could not be computed.",
        )
    return shown, (*cited, *_find_literals(CITED.sub(" ", text), claims))


def _find_literals(text: str, claims: Sequence[Claim]) -> Iterator[Cited]:
    """Numbers that were written out, each with the claim that has this value."""
    for match in NUMBER.finditer(NAMES.sub(lambda m: " " * len(m.group()), text)):
        said = match.group().strip()
        where = next(
            (
                (claim, part)
                for claim in claims
                for part, value in _claim_values(claim)
                if _is_value(said, value, part, claim.unit)
            ),
            None,
        )
        if where is None:
            raise VerdictRefused(
                f"The verdict says {said}, which is no claim or measurement of this run.",
                hint="Claim it, and write the verdict with cite(NAME) from digsite.record.verdict.",
            )
        yield Cited(said, where[0].name, where[1])


def _claim_values(claim: Claim) -> Iterator[tuple[str, float]]:
    parts: Mapping[str, float | None] = {
        "value": claim.value,
        "low": claim.low,
        "high": claim.high,
        "null": claim.null,
        "n": claim.n,
        "p": claim.p,
        "hits": hits_of(claim),
        "low of the null": claim.null_low,
        "high of the null": claim.null_high,
        **{rival.name: rival.value for rival in claim.rivals},
    }
    yield from ((part, float(value)) for part, value in parts.items() if value is not None)


def find_numbers(text: str) -> list[float]:
    """The numbers of a sentence as values, a percentage as a share; names with digits in them are no numbers."""
    numbers = []
    for match in NUMBER.finditer(NAMES.sub(lambda m: " " * len(m.group()), text)):
        plain = match.group().replace("\u202f", "").replace(",", "").replace(MINUS, "-").strip()
        numbers.append(float(plain.rstrip("% ")) / (100.0 if plain.endswith("%") else 1.0))
    return numbers


def hits_of(claim: Claim) -> int | None:
    """Of a share that was counted, how many of the n: "7 of 8 runs"."""
    if not claim.is_share or claim.value is None or not claim.n:
        return None
    hits = claim.value * claim.n / (100 if claim.unit == "%" else 1)
    return round(hits) if abs(hits - round(hits)) < 1e-6 * max(1, claim.n) else None


def _is_value(said: str, value: float, part: str, unit: str) -> bool:
    """Whether a number, as written, is this value rounded to the written places; a percentage is also of a share."""
    plain = said.replace("\u202f", "").replace(",", "").replace(MINUS, "-")
    percent = plain.endswith("%")
    plain = plain.rstrip("% ")
    mantissa, _, exponent = plain.partition("e")
    places = len(mantissa.partition(".")[2])
    half = 0.5000001 * 10.0 ** (int(exponent or 0) - places)
    if percent and part in ("n", "hits", "p"):
        return False
    scale = 100.0 if percent and unit != "%" else 1.0
    return abs(float(plain) - scale * value) <= half


def part_text(claim: Claim, part: str = "value", style: str = "") -> str:
    """One number of a claim as a sentence says it: two digits of a share's percent, signs of differences."""
    rivals = {rival.name: rival.value for rival in claim.rivals}
    if part == "interval":
        ends = (part_text(claim, "low", style), part_text(claim, "high", style))
        return f"{ends[0].removesuffix(' %').removesuffix(f' {claim.unit}')} to {ends[1]}"
    if part not in PARTS and part not in rivals:
        raise VerdictRefused(f"'{claim.name}' has no '{part}'; there are {', '.join((*PARTS, *rivals))}.")
    if part == "hits":
        value = hits_of(claim)
    else:
        value = rivals[part] if part in rivals else getattr(claim, part)
    if value is None or not math.isfinite(value):
        raise VerdictRefused(
            f"The verdict cites the {part} of '{claim.name}', which could not be computed.",
            hint="Write the sentence for that case without the number.",
        )
    if style:
        return (
            f"{value:{style}}".replace("-", MINUS)
            if "%" not in style
            else f"{value:{style}}".replace("%", " %")
        )
    if part in ("n", "hits"):
        return f"{value:,}".replace(",", "\u202f")
    return f"p = {value:.2g}" if part == "p" else said_number(value, claim.kind, claim.unit)


SIGNED = ("difference",)  # kinds whose sign is said
FINE = ("correlation",)  # kinds of which a third place counts


def said_number(value: float, kind: str, unit: str) -> str:
    """A number in a sentence, with its unit."""
    if (kind, unit) in (("share", ""), ("share", "share")):
        return f"{100 * value:.1f} %"
    sign = "+" if kind in SIGNED and value > 0 else ""
    if unit == "%":
        return f"{sign}{value:.1f} %".replace("-", MINUS)
    if float(value).is_integer() and abs(value) < 1e6:
        text = f"{value:.0f}"
    elif kind in FINE:
        text = f"{value:.3f}"
    else:
        text = f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{sign}{text}{f' {unit}' if unit else ''}".replace("-", MINUS)
