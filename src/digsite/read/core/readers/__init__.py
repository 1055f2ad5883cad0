"""Ways to read a network: each member turns a population into features, or is a network that reads networks."""

from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    INVARIANT: Any  # changes of the weights that its features do not see
    RUNS_NETWORK: bool = False  # runs the network instead of looking at its weights alone
