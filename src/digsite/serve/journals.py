"""Measurements for charts: parsed once per state of the file, thinned without losing a spike."""

import json
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from digsite.record.journal import series

Series = tuple[list[float], list[float]]


def columns(path: Path) -> dict[str, Series]:
    """Every measured name with its steps and values."""
    if not path.is_file() or path.is_symlink():
        return {}
    stat = path.stat()
    return _columns(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)
def _columns(path: Path, modified: int, size: int) -> dict[str, Series]:
    try:
        return series(path)
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        return {}


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
