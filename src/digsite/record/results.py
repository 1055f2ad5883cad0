"""What a run found: claims beside their nulls, measurements, the headline, and a verdict whose numbers are all of these."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from digsite.base import atomic, stored
from digsite.base.errors import DigsiteError
from digsite.base.intervals import BY_KIND
from digsite.record.upgrade import upgrade_results

SCHEMA = 2
KINDS = tuple(BY_KIND)
DIRECTIONS = ("higher", "lower", "")  # which is better; "" where neither is


@dataclass(frozen=True)
class Rival:
    """Another way to the same number: a trivial baseline, a published method, the same method on noise."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A value with its interval over n, beside its null and rivals; without null or interval it is a measurement."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    null: float | None = None
    unit: str = ""
    note: str = ""
    null_low: float | None = None  # where the null is drawn many times: its own 95 % interval
    null_high: float | None = None
    title: str = ""  # in the field's words
    kind: str = ""  # a key of KINDS: decides the interval and how the number is written
    better: str = ""  # one of DIRECTIONS
    null_is: str = ""  # chance, constant, same margins, noise for a donor, the strongest rival ...
    p: float | None = None  # of many tests, the corrected one (Holm) or the false discovery rate q
    rivals: tuple[Rival, ...] = ()
    points: tuple[float, ...] = ()  # the repeats themselves, where too few of them allow no interval
    more: Mapping[str, Any] = field(default_factory=dict)  # fields of a newer digsite, kept as they are

    @property
    def is_share(self) -> bool:
        """Whether it was counted: so many of n."""
        return self.kind == "share"

    @property
    def is_measurement(self) -> bool:
        """A number that nothing stands beside says what is, and not whether it is much."""
        ends = (self.null, self.value, self.low, self.high)
        return any(end is None for end in ends)

    @property
    def say_value(self) -> str:
        """The title, or the id where nobody wrote one."""
        return self.title or self.name


class About(TypedDict, total=False):
    """What may be said of a claim beside its name and value."""

    low: float | None
    high: float | None
    n: int | None
    null: float | None
    null_low: float | None
    null_high: float | None
    null_is: str
    unit: str
    note: str
    title: str
    kind: str
    better: str
    p: float | None


def make_claim(
    name: str,
    value: float | None,
    *,
    rivals: Sequence[Rival] = (),
    points: Sequence[float] = (),
    **about: Unpack[About],
) -> Claim:
    """A claim in plain numbers; what could not be computed is a hole and never `nan` in a file or a sentence."""
    kind, better = about.get("kind", ""), about.get("better", "")
    assert kind in ("", *KINDS), f"{name}: '{kind}' is no kind of claim; there are {', '.join(KINDS)}"
    assert better in DIRECTIONS, f"{name}: better is 'higher' or 'lower' and not '{better}'"
    numbers = ("low", "high", "null", "null_low", "null_high", "p")
    plain: dict[str, Any] = {
        key: _plain_number(item) if key in numbers else item for key, item in about.items()
    }
    n = about.get("n")
    plain["n"] = None if n is None else int(n)
    return Claim(name, _plain_number(value), rivals=tuple(rivals), points=tuple(map(float, points)), **plain)


def _plain_number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def as_rival(name: str, given: float | Rival | None) -> Rival:
    return given if isinstance(given, Rival) else Rival(name, _plain_number(given))


def strongest_rival(rivals: Sequence[Rival], better: str) -> Rival | None:
    """A claim stands beside the best of its rivals, not beside the weakest; without a direction nobody can say which."""
    known = [rival for rival in rivals if rival.value is not None]
    if not known or not better:
        return None
    return (max if better == "higher" else min)(known, key=lambda rival: rival.value or 0.0)


@dataclass(frozen=True)
class Cited:
    """A number as a verdict says it, and where in the results it is."""

    text: str
    claim: str
    part: str = "value"


@dataclass(frozen=True)
class Results:
    study: str
    verdict: str
    claims: tuple[Claim, ...]  # the headline first, then other claims, then measurements
    headline: tuple[str, ...] = ()  # ids of one to five claims
    hero: str = ""  # the figure that shows the answer
    cited: tuple[Cited, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def caution(self) -> str:
        """A sentence where a later digsite wrote this: it may say more than is read here."""
        if self.schema <= SCHEMA:
            return ""
        return f"written by a newer digsite (schema {self.schema}, this one reads {SCHEMA}): what it added is kept and not shown"

    def __getitem__(self, name: str) -> Claim:
        return next(claim for claim in self.claims if claim.name == name)

    def value(self, name: str) -> float | None:
        return self[name].value

    @property
    def leading(self) -> tuple[Claim, ...]:
        """The headline; of a run that names none, its first claims."""
        return leading_claims(self.claims, self.headline)

    @property
    def measurements(self) -> tuple[Claim, ...]:
        return tuple(claim for claim in self.claims if claim.is_measurement)


def leading_claims(claims: Sequence[Claim], headline: Sequence[str]) -> tuple[Claim, ...]:
    """The claims that an answer leads with, at most five of them.

    What has a null but too few repeats for an interval is shown by its points; a number without a null leads only
    where nothing else was named, and is folded away with the other measurements otherwise.
    """
    by_name = {claim.name: claim for claim in claims}
    named = [by_name[name] for name in headline if name in by_name]
    beside = [claim for claim in named if claim.null is not None]
    return tuple((beside or named or [claim for claim in claims if not claim.is_measurement])[:5])


def write_results(path: Path, results: Results) -> None:
    """`claims` and `measurements` apart, so that no reader takes one for the other."""
    rows = [_store_claim(claim) for claim in results.claims]
    bare = [claim.is_measurement for claim in results.claims]
    stored = {
        **results.more,
        "schema": SCHEMA,
        "study": results.study,
        "verdict": results.verdict,
        "headline": list(results.headline),
        "hero": results.hero,
        "cited": [asdict(cited) for cited in results.cited],
        "claims": [row for row, is_bare in zip(rows, bare, strict=True) if not is_bare],
        "measurements": [row for row, is_bare in zip(rows, bare, strict=True) if is_bare],
    }
    atomic.write_json(path, stored, fsync=True)


def _store_claim(claim: Claim) -> dict[str, Any]:
    """Empty fields are left out: most measurements are a name and a value."""
    shown = {f.name: getattr(claim, f.name) for f in fields(Claim) if f.name not in ("more", "rivals")}
    kept = {key: value for key, value in shown.items() if value not in (None, "", ())}
    rivals = [{k: v for k, v in asdict(rival).items() if v not in (None, "")} for rival in claim.rivals]
    return {**claim.more, "value": claim.value, **kept, **({"rivals": rivals} if rivals else {})}


def read_results(path: Path) -> Results | None:
    """Results of any version: older ones are brought up to date, fields of newer ones are kept in `more`.

    `path` is a results.json; None where there is no such file.
    """
    raw = stored.read_json(path, kind=dict)
    if isinstance(raw, stored.Damaged):
        raise DigsiteError(f"'{path}' is damaged: {raw.reason}.", hint="Its run can be started anew.")
    return None if raw is None else parse_results(raw)


def parse_results(raw: Mapping[str, Any]) -> Results:
    """What a file of results holds, once it has been read as plain data; raises whatever another form leads to."""
    upgraded = upgrade_results(dict(raw), SCHEMA)
    rows = [_read_claim(row) for row in (*upgraded.pop("claims", ()), *upgraded.pop("measurements", ()))]
    schema = upgraded.pop("schema", SCHEMA)
    cited = tuple(Cited(c["text"], c["claim"], c.get("part", "value")) for c in upgraded.pop("cited", ()))
    return Results(
        study=str(upgraded.pop("study", "")),
        verdict=str(upgraded.pop("verdict", "")),
        claims=tuple(rows),
        headline=tuple(upgraded.pop("headline", ())),
        hero=str(upgraded.pop("hero", "")),
        cited=cited,
        more=upgraded,
        schema=schema if isinstance(schema, int) else SCHEMA,
    )


def _read_claim(row: Mapping[str, Any]) -> Claim:
    known = {f.name for f in fields(Claim)} - {"more", "rivals"}
    rival = {f.name for f in fields(Rival)}
    rivals = tuple(
        Rival(**{"value": None, **{k: v for k, v in entry.items() if k in rival}})
        for entry in row.get("rivals", ())
    )
    own = {key: value for key, value in row.items() if key in known}
    more = {key: value for key, value in row.items() if key not in known and key != "rivals"}
    return replace(
        Claim(**{"value": None, **own}), rivals=rivals, points=tuple(own.get("points", ())), more=more
    )


def find_misses(results: Results, expected: dict[str, Any]) -> list[str]:
    """A sentence for each claim or measurement outside of what `expected.json` allows.

    `undecided` expects the claim without a value: the size is too small to answer, and says so.
    """
    known = {claim.name: claim for claim in results.claims}
    sentences = []
    for name, rule in expected.get("claims", {}).items():
        value = known[name].value if name in known else None
        if rule.get("undecided"):
            if name not in known or value is not None:
                sentences.append(f"{name}: got {value}, expected no answer ({rule['source']})")
            continue
        low, high = read_bounds(rule)
        if value is None or not low <= value <= high:
            sentences.append(f"{name}: got {value}, expected {low:g} to {high:g} ({rule['source']})")
    return sentences


def read_bounds(rule: dict[str, Any]) -> tuple[float, float]:
    """`value` with `tolerance`, or open-ended `min` / `max`."""
    if "value" in rule:
        return rule["value"] - rule["tolerance"], rule["value"] + rule["tolerance"]
    return rule.get("min", float("-inf")), rule.get("max", float("inf"))
