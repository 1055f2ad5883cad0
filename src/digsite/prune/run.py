"""The studies of this room by name."""

from collections.abc import Callable
from typing import Any

from digsite.prune.experiments.attribution import attribution
from digsite.prune.experiments.clusters import clusters
from digsite.prune.experiments.comparison import comparison
from digsite.prune.experiments.mask_truth import mask_truth
from digsite.prune.experiments.published import as_published
from digsite.prune.experiments.quality import quality
from digsite.prune.experiments.report import report
from digsite.prune.experiments.single import repeat, single
from digsite.prune.experiments.smaller import smaller

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "single": single,
    "repeat": repeat,
    "clusters": clusters,
    "report": report,
    "published": as_published,
    "quality": quality,
    "smaller": smaller,
    "comparison": comparison,
    "attribution": attribution,
    "mask_truth": mask_truth,
}
