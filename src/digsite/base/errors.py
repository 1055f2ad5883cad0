"""User errors: one sentence with the offending value, what is accepted, and the next command to type."""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import ModuleType

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


class Unreachable(NotFound):
    """A hub that says nothing, or nothing but errors: what it may hold is not known, and asking again may cost as long a wait."""


class ExpectationFailed(DigsiteError):
    """A result is outside of what `expected.json` allows."""

    exit_code = 4


class LockHeld(DigsiteError):
    """Another process writes this run directory."""

    exit_code = 5


def name_nearest(word: str, words: Iterable[str]) -> str:
    """A sentence that names the closest accepted word, or all of them when there are few."""
    known = sorted(set(words))
    close = get_close_matches(word[:200], known, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    if len(known) <= 12:
        return f"Accepted: {', '.join(known)}." if known else ""
    return f"Accepted: {', '.join(known[:12])} and {len(known) - 12} more."


# The edge to other people's files and code: whatever fails there is one sentence.

MOST_WORDS = 220  # characters of somebody else's message that are worth passing on


@contextmanager
def one_sentence(doing: str, hint: str = "") -> Iterator[None]:
    """Whatever goes wrong inside, while `doing` something with a stranger's model, is a UsageError of one sentence.

    This is an edge like the command line's: parsers of foreign formats, loaders of libraries and a user's forward pass
    raise anything at all. Our own sentences pass unchanged; so do interrupts and a lack of memory.
    """
    try:
        yield
    except (DigsiteError, MemoryError):
        raise
    except Exception as error:
        words = " ".join(str(error).split()) or "no reason given"
        words = words if len(words) <= MOST_WORDS else words[: MOST_WORDS - 3] + "..."
        raise UsageError(
            f"{doing} failed: {type(error).__name__}, {words.rstrip('.')}.", hint=hint
        ) from error


# Optional dependencies are looked for when they are needed, never at import.


def require_package(module: str, *, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        message = f"This needs the package '{module.split('.')[0]}', which is not installed."
        raise MissingExtra(message, hint=f"Install it: pip install 'digsite[{extra}]'") from None
