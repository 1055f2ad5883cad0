"""One file per statistic of a mask: `compute(view) -> float`, and `TAIL`, the side on which structure shows."""
