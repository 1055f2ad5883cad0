"""Catching a jump while it happens: a sequential test, and recent weights kept so that "before" still exists."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

Saved = list[tuple[int, dict[str, Tensor]]]


@dataclass
class SequentialTest:
    """Two-sided CUSUM on one-step forecasts: fires when the level leaves its recent course.

    Forecasts extend the median slope of the last `window` samples; errors are in units of their robust spread. With a
    drift of 1 and a threshold of 12 a white series gives about one false alarm in ten thousand samples.
    """

    window: int = 24
    drift: float = 1.0
    threshold: float = 12.0
    _past: deque[float] = field(default_factory=deque)
    _errors: deque[float] = field(default_factory=deque)
    _up: float = 0.0
    _down: float = 0.0

    def update(self, value: float) -> bool:
        """Takes the next value; True when a change is found, after which the test starts afresh."""
        if len(self._past) >= self.window:
            error = value - self._forecast_next()
            spread = self._error_spread()
            self._errors.append(error)
            if spread > 0:
                z = float(np.clip(error / spread, -8, 8))
                self._up = max(0.0, self._up + z - self.drift)
                self._down = max(0.0, self._down - z - self.drift)
        self._past.append(value)
        if len(self._past) > self.window:
            self._past.popleft()
        if len(self._errors) > self.window:
            self._errors.popleft()
        if max(self._up, self._down) > self.threshold:
            self._past.clear()
            self._errors.clear()
            self._up = self._down = 0.0
            return True
        return False

    def _forecast_next(self) -> float:
        """Along the line through the medians of both halves of the window."""
        past = np.array(self._past)
        half = self.window // 2
        early, late = np.median(past[:half]), np.median(past[half:])
        slope = (late - early) / half
        return float(late + slope * (self.window - half + 1) / 2)

    def _error_spread(self) -> float:
        """Of the forecast errors so far; of the differences before there are enough errors."""
        if len(self._errors) >= 8:
            return float(1.4826 * np.median(np.abs(self._errors)))
        return float(1.4826 * np.median(np.abs(np.diff(np.array(self._past)))))


class WeightRing:
    """The last `size` samples' weights; `watch` hands them out when a series jumps, in a single pass of training."""

    def __init__(self, model: nn.Module, on_jump: Callable[[int, str, Saved], None], size: int = 8) -> None:
        self.model, self.on_jump = model, on_jump
        self._ring: deque[tuple[int, dict[str, Tensor]]] = deque(maxlen=size)
        self._tests: dict[str, SequentialTest] = {}

    def watch_series(self, step: int, values: Mapping[str, float]) -> list[str]:
        """Call at each sample with the values to watch; returns the names that fired."""
        self._ring.append((step, self._copy_now()))
        fired = [name for name, value in values.items() if self._test_value(name).update(value)]
        for name in fired:
            self.on_jump(step, name, list(self._ring))
        return fired

    def _test_value(self, name: str) -> SequentialTest:
        """A test for each layer."""
        return self._tests.setdefault(name, SequentialTest())

    def _copy_now(self) -> dict[str, Tensor]:
        """On the CPU: a ring of copies would fill a GPU."""
        with torch.no_grad():
            return {name: p.detach().cpu().clone() for name, p in self.model.named_parameters()}
