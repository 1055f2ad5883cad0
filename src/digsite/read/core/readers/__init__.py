"""Ways to read a network: each member turns a population into features, or is a network that reads networks.

A member `kind.py` is found by its file. What it can do is found by name: `extract_kind(group)` gives columns, and
`fit_kind(population, quality, in_canonical_form)` what it learns from a zoo first (then `STATE` is the class of that).
"""

from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has; names with a value are tags that it may set."""

    INVARIANT: Any  # changes of the weights that its features do not see
    RUNS_NETWORK: bool = False  # runs the network instead of looking at its weights alone
    ANY_SHAPE: bool = (
        False  # its columns mean the same whatever the network's shape, so that no shape is a stranger
    )
    STATE: Any = None  # class of what it learns from a zoo, None where it learns nothing
    IN_DOUBLE: bool = False  # what it learns is used in double precision, and stored in half of it
    OWN_ENGINE: bool = False  # trained as a graph network, not as features with heads
    LINEAR_HEAD: bool = False  # its columns are read by a linear map instead of by trees
    IN_FEATURES: int = 0  # place of its columns among those of `features`, 0 where they are not part of it
    MADE_OF: tuple[
        str, ...
    ] = ()  # readers that it averages; `features` stands for trees over all columns together
