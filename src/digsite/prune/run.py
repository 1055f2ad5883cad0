"""The studies of this room by name."""

from collections.abc import Callable
from typing import Any

from digsite.prune.runs.attribution import attribution
from digsite.prune.runs.clusters import clusters
from digsite.prune.runs.comparison import comparison
from digsite.prune.runs.published import as_published
from digsite.prune.runs.quality import quality
from digsite.prune.runs.report import report
from digsite.prune.runs.single import repeat, single

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "single": single,
    "repeat": repeat,
    "clusters": clusters,
    "report": report,
    "published": as_published,
    "quality": quality,
    "comparison": comparison,
    "attribution": attribution,
}
