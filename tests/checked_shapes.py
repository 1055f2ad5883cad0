"""Types and shapes of the methods, checked while the tests run and only then: users pay nothing for it."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

CONF = BeartypeConf(is_pep484_tower=True)  # a whole number is a float, as for every type checker


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its hints checked at each call; one whose hints cannot be (a plain Protocol) stays as it is."""
    try:
        return beartype(conf=CONF)(function)
    except BeartypeDecorHintException:
        return function
