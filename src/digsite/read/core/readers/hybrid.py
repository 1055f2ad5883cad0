"""The ensemble together with `probe`: the best answer where the network may be run."""

MADE_OF = ("features", "nwpa", "probe")
RUNS_NETWORK = True
INVARIANT = ("permutation",)
