"""Formats of weights, told apart by content: `matches(path)` and `read(path)` in each file."""
