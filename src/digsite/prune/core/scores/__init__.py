"""One file per way to choose which weights go; each has `prune(weight, inputs, pattern, settings) -> Decision`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Bool, Float
from torch import Tensor


class Member(Protocol):
    """What a file of this folder has."""

    NEEDS: Any  # which statistics of the inputs it reads
    prune: Callable[..., Any]


@dataclass(frozen=True)
class Settings:
    """Numbers of the methods, with the published defaults."""

    block: int = 128  # columns of a SparseGPT block
    damping: float = 0.01  # share of the mean Hessian diagonal added to it
    power: float = 0.5  # exponent of the activation norm in RIA
    per_row: bool = False  # RIA: compare inside a row instead of the whole matrix
    bits: int = 0  # SparseGPT: round what stays to so many bits in the same sweep; 0 leaves it as it is


@dataclass(frozen=True)
class Decision:
    """Which weights stay, and what the weights are afterwards (changed only by methods that update them)."""

    keep: Bool[Tensor, "out in"]
    weight: Float[Tensor, "out in"]
    note: str = ""


def masked(weight: Float[Tensor, "out in"], pruned: Bool[Tensor, "out in"], note: str = "") -> Decision:
    return Decision(~pruned, weight.masked_fill(pruned, 0), note)
