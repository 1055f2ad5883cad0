"""Weights by reference, in any format, read lazily and without executing a pickle."""

from digsite.weights.bundle import WeightBundle
from digsite.weights.reader import Reference, open_weights, parse_reference, read_weights, refuse_missing
from digsite.weights.writer import write_weights

__all__ = [
    "Reference",
    "WeightBundle",
    "open_weights",
    "parse_reference",
    "read_weights",
    "refuse_missing",
    "write_weights",
]
