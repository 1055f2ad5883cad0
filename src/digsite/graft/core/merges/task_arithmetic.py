"""The start plus the scaled sum of what each fine-tuning changed (arXiv 2212.04089)."""

from digsite.graft.core.merges import Evidence, MergeSettings, State
from digsite.graft.core.merging import task_sum

NEEDS = ("start",)


def merge(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
    assert evidence.start is not None
    return task_sum(evidence.start, parents, settings.scale)
