"""How much faster a smaller model really is: both are run in turns and timed in CPU-seconds.

Turns, because a machine that gets busy slows both; CPU-seconds, because a wall clock on a shared machine measures the
others; the median, because a first call also loads what it needs.
"""

import statistics
import time
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Speed:
    """CPU-seconds of one forward pass of each model, every repeat; `ratio` is how many times faster the second is."""

    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return statistics.median(self.before) / statistics.median(self.after)

    @property
    def ratios(self) -> list[float]:
        """One ratio per pair of turns: what an interval is made of."""
        return [b / a for b, a in zip(self.before, self.after, strict=True)]


@torch.no_grad()
def measure_speed(
    before: nn.Module, after: nn.Module, tokens: Int[Tensor, "rows tokens"], repeats: int = 5
) -> Speed:
    """Time `repeats` turns of both models on the same tokens, after one turn that is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for model, taken in zip((before, after), times, strict=True):
            start = time.process_time()
            model(tokens)
            if turn:
                taken.append(max(time.process_time() - start, 1e-9))
    return Speed(tuple(times[0]), tuple(times[1]))
