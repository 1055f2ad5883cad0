"""One thing that can be said about a model, and what it stands beside."""

from dataclasses import dataclass, field
from typing import Any

FACT = "a fact of the file: it has no null"


@dataclass(frozen=True)
class Statement:
    """`text` is one sentence that a person can quote, `title` what its value is. `beside` says what the value is compared with, or why it has no
    null; `null` is the number there, and `p` how often the null gives as much, corrected for what was looked at.
    """

    key: str
    title: str  # a few words, in the field's own
    text: str
    beside: str = FACT
    value: float | None = None
    low: float | None = None
    high: float | None = None
    null: float | None = None
    p: float | None = None
    n: int | None = None
    unit: str = ""
    quote: bool = False  # whether the paragraph at the end says it too

    def as_row(self) -> dict[str, Any]:
        """For a table; `block` is added by who writes it."""
        return {
            "statement": self.text,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "null": self.null,
            "p": self.p,
            "n": self.n,
            "beside": self.beside,
        }


@dataclass(frozen=True)
class Answer:
    """What one block says: its statements, what it left out and why, and tables with more."""

    statements: tuple[Statement, ...]
    skipped: str = ""
    tables: dict[str, Any] = field(default_factory=dict)


def skip(reason: str) -> Answer:
    """A block that has nothing to say, and says why."""
    return Answer((), reason)
