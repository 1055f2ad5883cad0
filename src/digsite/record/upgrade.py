"""Records of older versions, one step per version: what was written once stays readable."""

from collections.abc import Callable
from typing import Any

Stored = dict[str, Any]


def upgrade_results(stored: Stored, schema: int) -> Stored:
    """`results.json` as version `schema` would have written it; a newer one is taken as it is.

    A file from a later digsite keeps its unknown fields: whoever reads it sees at least what this version knows.
    """
    if not isinstance(stored, dict):
        raise TypeError("results.json holds no mapping")
    version = stored.get("schema", 1)
    while isinstance(version, int) and version < schema:
        stored = STEPS[version](stored)
        version = stored["schema"]
    return dict(stored)


def _to_second(stored: Stored) -> Stored:
    """Version 1 had one list; what lacks a null or an interval is a measurement now, and nothing was a headline."""
    rows = list(stored.get("claims", ()))
    bare = [any(row.get(key) is None for key in ("value", "null", "low", "high")) for row in rows]
    return {
        **stored,
        "schema": 2,
        "claims": [row for row, is_bare in zip(rows, bare, strict=True) if not is_bare],
        "measurements": [row for row, is_bare in zip(rows, bare, strict=True) if is_bare],
        "headline": [],
        "hero": "",
        "cited": [],
    }


STEPS: dict[int, Callable[[Stored], Stored]] = {1: _to_second}  # from version -> to the next one
