"""Track: how the dimensionality of a network's representations moves while it learns."""
