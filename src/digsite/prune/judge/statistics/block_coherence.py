"""Share of (position, group of 8 features) cells with nothing kept: work that a block kernel could skip."""

from digsite.prune.core.groups import coherence
from digsite.prune.judge.views import View

TAIL = "upper"


def compute(view: View) -> float:
    return coherence(view.mask.unpack())
