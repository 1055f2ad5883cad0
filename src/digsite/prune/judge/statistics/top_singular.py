"""Global test: the largest singular value of the mask less what its margins predict."""

from digsite.prune.judge.views import View

TAIL = "upper"


def compute(view: View) -> float:
    return view.top_singular
