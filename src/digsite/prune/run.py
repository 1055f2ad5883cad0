"""The studies of this room by name."""

from collections.abc import Callable
from typing import Any

from digsite.prune.runs.clusters import clusters

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "clusters": clusters,
}
