"""Trees over all weight features and the graph networks, averaged with weights chosen on held-out networks."""

MADE_OF = ("features", "nwpa")
INVARIANT = ("permutation",)  # its statistics and singular values see scales
