"""What would change the answer: computed from intervals, nulls, sizes and provenance, never a stock phrase."""

import math
from collections.abc import Iterator

from digsite.record.results import Claim
from digsite.report.claims import beside_null
from digsite.report.facts import Facts
from digsite.report.numbers import claim_texts

SHOWN = 4  # sentences of one kind, and names listed, before "and n more"


def doubts(facts: Facts) -> list[str]:
    """Sentences in order of weight."""
    return [*_about_state(facts), *_about_claims(facts), *_about_code(facts)]


def _about_state(facts: Facts) -> Iterator[str]:
    if facts.state != "finished":
        yield f"This run is {facts.state}, so everything here is what is known so far."
    if facts.size in ("quick", "smoke"):
        meant = "a smaller version" if facts.size == "quick" else "the smallest version, meant to see it work"
        yield f"This is the {facts.size} size ({meant}); the full study is: digsite run {facts.study}"


def _about_claims(facts: Facts) -> Iterator[str]:
    claims = [c for c in facts.claims if c.value is not None]
    weak = [c for c in claims if beside_null(c) == "covers"]  # what the verdict rests on comes first
    yield from map(_not_told_apart, weak[:SHOWN])
    if more := [c.name for c in weak[SHOWN:]]:
        yield f"So for {len(more)} more: {_listed(more)}."
    if strong := [c for c in claims if beside_null(c) in ("above", "below")]:
        yield _closest_call(strong)
    if bare := [c.name for c in claims if c.low is None]:
        yield f"Without an interval, so one more seed could move it: {_listed(bare)}."
    if no_null := [c.name for c in claims if c.null is None]:
        yield f"Without a null to compare with, so read it as a description: {_listed(no_null)}."
    if missing := [c.name for c in facts.claims if c.value is None]:
        yield f"Could not be computed in this run: {_listed(missing)}."


def _not_told_apart(claim: Claim) -> str:
    value, interval, null = claim_texts(claim)
    text = f"{claim.name} cannot be told apart from its null: {value} ({interval}) beside {null}"
    needed = _n_to_separate(claim)
    if needed is None:
        return f"{text}; the value sits on its null, and more data would only make that surer."
    return f"{text}; at this spread it would take about n = {needed} instead of {claim.n} to tell."


def _n_to_separate(claim: Claim) -> int | None:
    """An interval's half width shrinks with the root of n."""
    assert claim.value is not None and claim.low is not None and claim.high is not None
    distance = abs(claim.value - (claim.null or 0.0))
    half = (claim.high - claim.low) / 2
    if not claim.n or distance <= half / 20:
        return None
    return math.ceil(claim.n * (half / distance) ** 2)


def _closest_call(claims: list[Claim]) -> str:
    def margin(claim: Claim) -> float:
        assert claim.value is not None and claim.null is not None
        assert claim.low is not None and claim.high is not None
        return abs(claim.value - claim.null) / max((claim.high - claim.low) / 2, 1e-12)

    closest = min(claims, key=margin)
    value, interval, null = claim_texts(closest)
    times = margin(closest)
    far = f"{times:.1f} times" if times < 1000 else "more than 1000 times"
    which = "The closest call" if len(claims) > 1 else "The claim"
    return (
        f"{which} that still clears its null is {closest.name}: {value} ({interval}) beside {null}, "
        f"{far} its half interval away; an error in the null of that size would undo it."
    )


def _about_code(facts: Facts) -> Iterator[str]:
    git = facts.provenance.get("git")
    if isinstance(git, dict) and git.get("diff"):
        yield "The code had uncommitted changes; they are kept in provenance.json of the run."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
