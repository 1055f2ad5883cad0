"""From scored members to claims with intervals over seeds, their rivals beside them, and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from digsite.base.intervals import Interval, seed_interval
from digsite.decompose.judge.score import Row
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


def summarize_score(rows: Sequence[Row], key: str) -> Interval:
    """A score over members with the interval of its kind: hits exactly, counts and everything else by the median."""
    least, most = bound_score(key)
    return seed_interval([row[key] for row in rows], kind_of_score(key), least=least, most=most)


def bound_score(key: str) -> tuple[float, float]:
    """The least and the most that a value of this name can be; intervals end there."""
    parts = set(key.split("/"))
    if parts & SIGNED:
        return -math.inf, math.inf
    if "kl_recovered" in parts:
        return -math.inf, 1.0
    return 0.0, 1.0 if parts & SHARES or key.startswith("recovered") else math.inf


def kind_of_score(key: str) -> str:
    """Of a score by name: which interval it has, and how it is written."""
    name = key.rpartition("/")[2]
    if name.startswith("recovered") or name == "features_recovered":
        return "share"
    return "count" if name.startswith(("error_", "alive_comp", "components_of")) else "median"


SIGNED = {"ce_recovered", "ce_difference"}
SHARES = {"accuracy", "mmcs", "mmcs_alive", "features_recovered", "stability", "single_frequency"}
LOWER = ("error_", "faithfulness", "recon_", "ci_l0", "ce", "kl")
TITLES = {
    "mmcs": "Cosine of the closest part with each true direction",
    "ml2r": "Length of that part over the length of the true column",
    "alive_components": "Parts that some single feature needs",
    "components_of_size": "Parts with norm above 5 % of the largest",
    "ci_l0": "Parts that an input needs, on average",
    "recovered_0.2": "Seeds in which exactly the known parts were found",
    "recovered_0.1": "The same with tolerance 0.1",
    "error_0.2": "Entries of the importance pattern that are wrong",
    "error_0.1": "The same with tolerance 0.1",
    "features_recovered": "Features with exactly one part of their own in every module",
    "faithfulness": "Mean squared entry of W minus the sum of the parts",
}


def title_of_score(key: str) -> str:
    """A score's key in words."""
    module, _, name = key.rpartition("/")
    title = TITLES.get(name, "")
    return f"{title}, {module}" if title and module else title


def note(key: str) -> str:
    """What a score is, for the foot of a claim."""
    return TITLES.get(key.rpartition("/")[2], "")


def claim_score(run: Run, rows: Sequence[Row], key: str, **beside: Any) -> Interval:
    """One score of all members as a claim.

    `beside`: null, null_is, rivals or note, as `Run.claim` takes them.
    """
    over = summarize_score(rows, key)
    name = key.rpartition("/")[2]
    better = "lower" if name.startswith(LOWER) else "" if kind_of_score(key) == "count" else "higher"
    more = {"title": title_of_score(key), "better": better, **beside}
    run.claim(key, over.value, interval=over, kind=kind_of_score(key), **more)
    return over


def tell_recovery(
    rows: Sequence[Row], modules: Sequence[str], rivals: Mapping[str, Mapping[str, float]]
) -> str:
    """Recovery and pattern error lead; the cosine stands beside its strongest rival, which in a plane is nearly one."""
    first = (
        f"Exactly the known parts were found in {cite('recovered_0.2', 'hits')} of {cite('recovered_0.2', 'n')} seeds; "
        f"in the median seed {cite('error_0.2')} entries of the importance pattern are wrong."
    )
    scored = next((m for m in modules if rivals.get(f"{m}/mmcs")), None)
    if scored is None:
        return first
    key = f"{scored}/mmcs"
    strongest = max(rivals[key], key=lambda name: rivals[key][name])
    return (
        f"{first} The parts point along the true directions of {scored} with cosine {cite(key, style='.4f')}, where the "
        f"strongest rival, '{strongest}', gives {cite(key, 'null', '.4f')}."
    )
