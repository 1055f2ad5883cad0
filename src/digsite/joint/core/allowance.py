"""Time as a budget: each block gets a share of what is left, and is asked to stop before it is used up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


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
