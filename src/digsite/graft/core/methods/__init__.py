"""Graft methods: one file each, found by scanning.

A member has `Options` (a config), `SAME_SHAPE`, `budget(options)` (letters of what it may read),
`message(options, donor)` (all that crosses from the donor) and `apply(options, receiver, message)` (the grafted model).
"""

from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    Options: type[Any] | None = None
    SAME_SHAPE: bool = False  # receiver and donor must be of one architecture
    NEEDS_START: bool = False  # both must come from one common start
