"""Keeps tracking below a share of the training time: work is done only when it fits, and the account is open."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Account = Literal["forward", "decompositions"]
# The forward pass with its cheap read-outs and the costly read-outs save up apart, so that neither starves the other.
SHARES: dict[Account, float] = {"forward": 0.6, "decompositions": 0.4}
SLOW = 2  # training steps that find the caches as the work left them


class Budget:
    """CPU seconds of training and of tracking; `share` None means no limit.

    What happens before training is set-up and counted apart. CPU time is read because a busy machine must not look
    like slow tracking; work on a GPU is seen as far as Python waits for it.
    """

    def __init__(self, share: float | None) -> None:
        self.share = share
        self.training_s = 0.0
        self.setup_s = 0.0
        self.spent: dict[Account, float] = dict.fromkeys(SHARES, 0.0)
        self.costs: dict[str, float] = {}
        self.skipped: Counter[str] = Counter()
        self._left_at: float | None = None
        self._steps = 0  # since then
        self._slow_until = 0.0
        self._begun = False
        self._booked = 0.0
        self._worked = False

    def pass_by(self) -> None:
        """A training step that is not measured has ended."""
        self._steps += 1
        if self._steps == SLOW:
            self._slow_until = time.process_time()

    def enter_tracker(self) -> None:
        """Control comes from the training loop."""
        now = time.process_time()
        if self._left_at is not None and self._begun:
            lost = self._lost(now)
            self.spent["forward"] += lost
            self.training_s += now - self._left_at - lost
        self._left_at, self._steps = now, 0

    def _lost(self, now: float) -> float:
        """What the first steps after work took longer than those that followed: cold caches are tracking's doing."""
        followed = self._steps + 1 - SLOW
        if not self._worked or followed < SLOW or self._left_at is None:
            return 0.0
        return self._slow_until - self._left_at - SLOW * (now - self._slow_until) / followed

    def leave(self) -> None:
        """Control goes back to the training loop; what was not booked as work is bookkeeping of the forward account."""
        now = time.process_time()
        assert self._left_at is not None
        if self._begun:
            self.spent["forward"] += max(now - self._left_at - self._booked, 0.0)
        else:
            self.setup_s += now - self._left_at
        self._worked = self._begun and self._booked > 0
        self._left_at, self._begun, self._booked = now, True, 0.0

    def resume_training(self) -> None:
        """After other work: what has passed since the last step was not training."""
        self._left_at, self._steps, self._worked = time.process_time(), 0, False

    def can_afford(self, account: Account, work: str, wanted: int = 1) -> int:
        """How many of the wanted units of work fit; of work of unknown cost one is tried."""
        if self.share is None:
            return wanted
        cost = self.costs.get(work, 0.0)
        if cost == 0:
            return min(wanted, 1)
        left = self.share * SHARES[account] * self.training_s - self.spent[account]
        fits = min(wanted, max(int(left / cost), 0))
        self.skipped[work] += wanted - fits
        return fits

    @contextmanager
    def booked_time(self, account: Account, work: str, units: int = 1) -> Iterator[None]:
        """Measures a piece of work and learns the cost of a unit as a running mean."""
        start = time.process_time()
        yield
        took = time.process_time() - start
        old = self.costs.get(work)
        self.costs[work] = took / units if old is None else 0.7 * old + 0.3 * took / units
        if self._begun:
            self.spent[account] += took
            self._booked += took

    @property
    def overhead(self) -> float:
        """Tracking time over training time so far, without set-up."""
        return sum(self.spent.values()) / self.training_s if self.training_s > 0 else 0.0
