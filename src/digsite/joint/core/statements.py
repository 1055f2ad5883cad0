"""One thing that can be said about a model, what it stands beside, and the time that may be spent on it."""

import time
from collections.abc import Callable
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
    better: str = ""  # "lower" or "higher", where one of them is
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


def count_words(n: int, noun: str, many: str) -> str:
    """`1 row is`, `2 rows are`."""
    return f"{n:,} {noun if n == 1 else many}"


@dataclass(frozen=True)
class Answer:
    """What one block says: its statements, what it left out and why, and tables with more."""

    statements: tuple[Statement, ...]
    skipped: str = ""
    tables: dict[str, Any] = field(default_factory=dict)


def skip(reason: str) -> Answer:
    """A block that has nothing to say, and says why."""
    return Answer((), reason)


# Time as a budget: each block gets a share of what is left, and is asked to stop before it is used up.


@dataclass
class Allowance:
    """`seconds` of processor time in all; `clock` can be set by tests, so that none depends on a machine's speed."""

    seconds: float
    clock: Callable[[], float] = time.process_time
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def left(self) -> float:
        return self.seconds - (self.clock() - self.started)

    def share(self, weight: float, weights_left: float) -> "Allowance":
        """What a block of `weight` may use, of the blocks of `weights_left` that are still to come, itself among them."""
        part = self.left * weight / weights_left if weights_left > 0 else self.left
        return Allowance(max(0.0, part), self.clock)

    @property
    def is_used(self) -> bool:
        return self.left <= 0


def parse_duration(text: str) -> float:
    """Seconds from `90`, `90s`, `5min` or `1.5h`; a ValueError says what is accepted."""
    word = text.strip().lower()
    for unit, factor in (("min", 60.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("", 1.0)):
        if word.endswith(unit):
            try:
                seconds = float(word.removesuffix(unit)) * factor
            except ValueError:
                break
            if 0 < seconds < 1e7:
                return seconds
            break
    raise ValueError(f"'{text}' is no time: write 90s, 5min or 1h")
