"""From scored members to claims with intervals over seeds, nulls beside them, and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from digsite.base.intervals import student, wilson
from digsite.decompose.judge.score import Row


@dataclass(frozen=True)
class Summary:
    """A value over members with its 95 % interval."""

    value: float
    low: float | None
    high: float | None
    n: int


def summarize(rows: Sequence[Row], key: str) -> Summary:
    """Shares get Wilson's interval, other numbers Student's over members."""
    values = [row[key] for row in rows]
    n = len(values)
    if key.startswith("recovered"):
        return Summary(sum(values) / n, *wilson(round(sum(values)), n), n)
    mean, low, high = student(values, *possible(key))
    return Summary(mean, low, high, n) if low != high else Summary(mean, None, None, n)


def possible(key: str) -> tuple[float, float]:
    """The least and the most that a value of this name can be; intervals end there."""
    parts = set(key.split("/"))
    if parts & SIGNED:
        return -math.inf, math.inf
    if "kl_recovered" in parts:
        return -math.inf, 1.0
    return 0.0, 1.0 if parts & SHARES else math.inf


SIGNED = {"ce_recovered", "ce_difference"}
SHARES = {"accuracy", "mmcs", "mmcs_alive", "features_recovered", "stability", "single_frequency"}
NOTES = {
    "mmcs": "mean over features of the best component's cosine with the weight column",
    "ml2r": "length of that component over the length of the column",
    "alive_components": "components with importance above 0.1 for some single feature",
    "components_of_size": "components with norm above 5 % of the largest",
    "ci_l0": "components with importance above 0.1 per input",
    "recovered_0.2": "share of members whose importances match the known solution, tolerance 0.2",
    "recovered_0.1": "share of members whose importances match the known solution, tolerance 0.1",
    "features_recovered": "share of features with exactly one component of their own in every module",
    "faithfulness": "mean squared entry of W - VU",
}


def note(key: str) -> str:
    return NOTES.get(key.rpartition("/")[2], "")


def verdict(rows: Sequence[Row], modules: Sequence[str], nulls: Mapping[str, float]) -> str:
    """Two sentences, computed."""
    n, exact = len(rows), sum(int(row["recovered_0.2"]) for row in rows)
    share = f"{exact} of {n} {'runs' if n > 1 else 'run'}"
    first = f"Exactly the known components were found in {share} (pattern error 0 at tolerance 0.2)."
    scored = next((m for m in modules if f"{m}/mmcs" in rows[0]), None)
    if scored is None:
        return first
    mmcs, ml2r = (summarize(rows, f"{scored}/{key}").value for key in ("mmcs", "ml2r"))
    null = nulls.get(f"{scored}/mmcs/svd")
    beside = "" if null is None else f", where singular vectors give {null:.3f}"
    cosine = f"with mean cosine {mmcs:.4f}{beside}, at {ml2r:.3f} of their length"
    return f"{first} Components point along the true directions of {scored} {cosine}."
