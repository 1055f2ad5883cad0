"""Sparse autoencoders: one kind per file, written for K stacked members at once.

A kind has `init(d, width, draw)` (tensors of one member by name), `encode(p, x, knob)` (x (K, n, d) to codes (K, n, m))
and `loss(p, x, knob)` (one number per member). `knob` (K,) is the sparsity: a penalty, or how many codes stay on.
The shared linear part is in `_linear`.
"""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    KNOB: Any
    encode: Callable[..., Any]
    loss: Callable[..., Any]
