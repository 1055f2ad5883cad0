"""What a run claims: each value with its interval over n, beside its null."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digsite.base import atomic

SCHEMA = 1


@dataclass(frozen=True)
class Claim:
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


@dataclass(frozen=True)
class Results:
    study: str
    verdict: str
    claims: tuple[Claim, ...]

    def __getitem__(self, name: str) -> Claim:
        return next(claim for claim in self.claims if claim.name == name)

    def value(self, name: str) -> float | None:
        return self[name].value


def write_results(path: Path, results: Results) -> None:
    claims = [asdict(claim) for claim in results.claims]
    atomic.write_json(
        path,
        {"schema": SCHEMA, "study": results.study, "verdict": results.verdict, "claims": claims},
        fsync=True,
    )


def read_results(path: Path) -> Results | None:
    if not path.is_file():
        return None
    stored = json.loads(path.read_bytes())
    return Results(stored["study"], stored["verdict"], tuple(Claim(**claim) for claim in stored["claims"]))


def misses(results: Results, expected: dict[str, Any]) -> list[str]:
    """A sentence for each claim outside of what `expected.json` allows."""
    found = {claim.name: claim for claim in results.claims}
    sentences = []
    for name, rule in expected.get("claims", {}).items():
        value = found[name].value if name in found else None
        low, high = bounds(rule)
        if value is None or not low <= value <= high:
            sentences.append(f"{name}: got {value}, expected {low:g} to {high:g} ({rule['source']})")
    return sentences


def bounds(rule: dict[str, Any]) -> tuple[float, float]:
    """`value` with `tolerance`, or open-ended `min` / `max`."""
    if "value" in rule:
        return rule["value"] - rule["tolerance"], rule["value"] + rule["tolerance"]
    return rule.get("min", float("-inf")), rule.get("max", float("inf"))
