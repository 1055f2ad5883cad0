"""TIES: trim each change to its largest entries, elect one sign per weight, average those that agree (2306.01708)."""

from digsite.graft.core.merges import Evidence, MergeSettings, State
from digsite.graft.core.merging import ties

NEEDS = ("start",)


def merge(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
    assert evidence.start is not None
    return ties(evidence.start, parents, settings.keep, settings.scale)
