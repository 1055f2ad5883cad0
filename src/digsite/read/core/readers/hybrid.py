"""The ensemble together with `probe`: the best answer where the network may be run."""

RUNS_NETWORK = True
INVARIANT = ("permutation",)
