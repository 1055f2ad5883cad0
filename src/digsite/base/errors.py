"""User errors: one sentence with the offending value, what is accepted, and the next command to type."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 2000  # characters of a message


class DigsiteError(Exception):
    """Something the user can put right; `exit_code` is part of the command line's interface."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        if len(message) > LONGEST:  # what was given is in it; a sentence stays one that can be read
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(DigsiteError):
    """A wrong argument, key or value."""

    exit_code = 2


class MissingExtra(UsageError):
    """An optional dependency is not installed."""


class NotFound(DigsiteError):
    """A run, study, file or name that is not there."""

    exit_code = 3


class ExpectationFailed(DigsiteError):
    """A result is outside of what `expected.json` allows."""

    exit_code = 4


class LockHeld(DigsiteError):
    """Another process writes this run directory."""

    exit_code = 5


def nearest(word: str, words: Iterable[str]) -> str:
    """A sentence that names the closest accepted word, or all of them when there are few."""
    known = sorted(set(words))
    close = get_close_matches(word[:200], known, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    if len(known) <= 12:
        return f"Accepted: {', '.join(known)}." if known else ""
    return f"Accepted: {', '.join(known[:12])} and {len(known) - 12} more."
