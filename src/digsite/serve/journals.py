"""Measurements for charts: parsed once per state of the file, thinned without losing a spike."""

import stat
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from digsite.record.journal import read_series

WHOLE = 50_000_000  # bytes of a journal that are read line by line; of a longer one every so many lines
Series = tuple[list[float], list[float]]


def columns(path: Path) -> dict[str, Series]:
    """Every measured name with its steps and values."""
    try:
        facts = path.lstat()
    except OSError:
        return {}
    return _columns(path, facts.st_mtime_ns, facts.st_size) if stat.S_ISREG(facts.st_mode) else {}


@lru_cache(maxsize=2)
def _columns(path: Path, modified: int, size: int) -> dict[str, Series]:
    return read_series(path, every=1 + size // WHOLE)


def downsampled(steps: list[float], values: list[float], points: int) -> Series:
    """At most `points`: the least and the greatest value of every bucket, in their order."""
    buckets = max(points // 2, 1)
    if len(values) <= max(points, 2):
        return steps, values
    y = np.asarray(values)
    edges = np.linspace(0, len(y), buckets + 1).astype(int)
    chosen = set()
    for start, end in pairwise(edges):
        if end > start:
            chosen |= {start + int(np.argmin(y[start:end])), start + int(np.argmax(y[start:end]))}
    keep = sorted(chosen)
    return [steps[i] for i in keep], [values[i] for i in keep]
