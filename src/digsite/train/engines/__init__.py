"""Ways to compute the same gradients of K stacked networks; each file is one engine."""
