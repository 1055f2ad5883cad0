"""What would change the answer: computed from intervals, nulls, sizes and provenance, never a stock phrase."""

from collections.abc import Iterator

from digsite.record.results import Claim
from digsite.report.claims import beside_null
from digsite.report.facts import Facts
from digsite.report.numbers import claim_texts, round_number

SHOWN = 4  # sentences of one kind, and names listed, before "and n more"


def list_doubts(facts: Facts) -> list[str]:
    """Sentences in order of weight."""
    return [*_about_state(facts), *_about_claims(facts), *_about_code(facts)]


def _about_state(facts: Facts) -> Iterator[str]:
    yield from (f"A record of this run is damaged, so it is not believed: {what}." for what in facts.damaged)
    if facts.caution:
        yield f"The results were {facts.caution}."
    if facts.state != "finished":
        yield f"This run is {facts.state}, so everything here is what is known so far."
    if facts.size in ("quick", "smoke"):
        meant = "a smaller version" if facts.size == "quick" else "the smallest version, meant to see it work"
        yield f"This is the {facts.size} size ({meant}); the full study is: digsite run {facts.study}"


def _about_claims(facts: Facts) -> Iterator[str]:
    """Of claims, never of measurements: these are descriptions and say so where they are shown."""
    claims = [c for c in facts.claims if not c.is_measurement]
    weak = [c for c in claims if beside_null(c) == "covers"]  # the headline comes first
    yield from map(_not_told_apart, weak[:SHOWN])
    if more := [c.say_value for c in weak[SHOWN:]]:
        yield f"So for {len(more)} more: {_name_some(more)}."
    if strong := [c for c in claims if beside_null(c) in ("above", "below")]:
        yield _closest_call(strong)
    if bare := [c.say_value for c in facts.leading if c.is_measurement and c.value is not None]:
        yield f"No interval or no null in this run, so only a measurement: {_name_some(bare)}."
    if missing := [c.say_value for c in facts.claims if c.value is None]:
        yield f"Could not be computed in this run: {_name_some(missing)}."


def _not_told_apart(claim: Claim) -> str:
    value, interval, null = claim_texts(claim)
    text = f"{claim.say_value}: not told apart from its null, {value} ({interval}) beside {null}"
    needed = _n_to_separate(claim)
    return f"{text}; about {needed} times the n would tell." if needed else f"{text}."


def _n_to_separate(claim: Claim) -> str:
    """How many times the data, to one significant digit: the near side of the interval shrinks with the root of n.

    Silence where less than half more would do (that is within what an interval may be off), or where more than a
    hundred times would be needed: then nobody can tell.
    """
    assert claim.value is not None and claim.low is not None and claim.high is not None
    null = _null_edge(claim)
    near = claim.value - claim.low if claim.value > null else claim.high - claim.value
    distance = abs(claim.value - null)
    if not claim.n or distance <= 0 or near <= 0:
        return ""
    times = (near / distance) ** 2
    return round_number(times) if 1.5 <= times <= 100 else ""


def _null_edge(claim: Claim) -> float:
    """The near end of the null's own interval, where it has one."""
    assert claim.value is not None and claim.null is not None
    above = claim.value > claim.null
    end = claim.null_high if above else claim.null_low
    return claim.null if end is None else end


def _closest_call(claims: list[Claim]) -> str:
    def margin(claim: Claim) -> float:
        """Distance from the null to the near end of the interval, in widths of that side."""
        assert claim.value is not None and claim.low is not None and claim.high is not None
        null = _null_edge(claim)
        near, gap = (
            (claim.value - claim.low, claim.low - null)
            if claim.value > null
            else (claim.high - claim.value, null - claim.high)
        )
        return gap / max(near, 1e-12)

    closest = min(claims, key=margin)
    value, interval, null = claim_texts(closest)
    side = beside_null(closest)
    which = "The closest call" if len(claims) > 1 else "The claim"
    return f"{which}: {closest.say_value}, {value} ({interval}), lies {side} its null {null}."


def _about_code(facts: Facts) -> Iterator[str]:
    git = facts.provenance.get("git")
    if isinstance(git, dict) and git.get("diff"):
        yield "The code had uncommitted changes; they are kept in provenance.json of the run."


def _name_some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
