"""Causal-importance functions: from what a module reads to one logit per component; one file per kind."""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    Settings: type[Any]
    init: Callable[..., Any]
    logits: Callable[..., Any]
    NEEDS_INPUTS: bool  # reads the module's whole input, not each component's inner activation alone
