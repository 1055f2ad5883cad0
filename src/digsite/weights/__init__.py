"""Weights by reference, in any format, read lazily and without executing a pickle."""

from digsite.weights.bundle import WeightBundle
from digsite.weights.hub import Card, OnHub, describe_saved, fetch_saved, push_saved, render_card, write_card
from digsite.weights.reader import Reference, open_weights, parse_reference, read_weights, refuse_missing
from digsite.weights.writer import write_weights

__all__ = [
    "Card",
    "OnHub",
    "Reference",
    "WeightBundle",
    "describe_saved",
    "fetch_saved",
    "open_weights",
    "parse_reference",
    "push_saved",
    "read_weights",
    "refuse_missing",
    "render_card",
    "write_card",
    "write_weights",
]
