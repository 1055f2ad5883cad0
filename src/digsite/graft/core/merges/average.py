"""The plain average of the parents' weights (model soups, arXiv 2203.05482)."""

from digsite.graft.core.merges import Evidence, MergeSettings, State

NEEDS = ()


def merge(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
    shares = settings.shares_of(len(parents))
    return {name: sum(s * p[name] for s, p in zip(shares, parents, strict=True)) for name in parents[0]}  # pyright: ignore[reportReturnType]
