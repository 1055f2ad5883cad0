"""Trees over all weight features and the graph networks, averaged with weights chosen on held-out networks."""

INVARIANT = ("permutation",)  # its statistics and singular values see scales
