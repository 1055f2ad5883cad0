"""Share of (position, group of 8 features) cells with nothing kept: work that a block kernel could skip."""

from digsite.prune.groups import coherence
from digsite.prune.view import View

TAIL = "upper"


def compute(view: View) -> float:
    return coherence(view.mask.unpack())
