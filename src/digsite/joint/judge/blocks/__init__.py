"""What is asked of a model, in the order a person asks: one file per question, each `examine(subject, allowance)`."""

from collections.abc import Callable
from typing import Protocol

from digsite.joint.core.statements import Answer


class Member(Protocol):
    """What a file of this folder has."""

    ORDER: int  # place among the questions
    QUESTION: str
    DEEPER: str  # the command that goes further
    WEIGHT: float  # share of the time, beside the other blocks' weights
    examine: Callable[..., Answer]
