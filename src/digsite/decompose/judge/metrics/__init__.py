"""Measurements of a decomposition on fresh batches: one file per metric, each `compute(settings, view) -> numbers`."""
