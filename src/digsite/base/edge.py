"""The edge to other people's files and code: whatever fails there is one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from digsite.base.errors import DigsiteError, UsageError

LONGEST = 220  # characters of somebody else's message that are worth passing on


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
        words = words if len(words) <= LONGEST else words[: LONGEST - 3] + "..."
        raise UsageError(
            f"{doing} failed: {type(error).__name__}, {words.rstrip('.')}.", hint=hint
        ) from error
