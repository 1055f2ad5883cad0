"""A group: members of one shape and batch size that take their steps as one matrix."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from digsite.train.dropout import Masks
from digsite.train.engines import Engine
from digsite.train.feeds import Feed
from digsite.train.member import Member
from digsite.train.optimizers import Optimizer, rate_table

NEVER = -1


class Group:
    """Rows are sorted by their number of steps, so that those still training are always the first ones.

    Within that order, neighbours with one kind of optimizer are updated together.
    """

    def __init__(
        self,
        members: Sequence[Member],
        totals: Sequence[int],
        flat: Tensor,
        buffers: Mapping[str, Tensor],
        engine: Engine,
        feed: Feed,
        masks: Masks,
    ) -> None:
        assert list(totals) == sorted(totals, reverse=True), totals
        self.members, self.totals, self.flat, self.buffers = members, totals, flat, dict(buffers)
        self.engine, self.feed, self.masks = engine, feed, masks
        self.spans = _find_spans(members, totals)
        self.optimizers = [Optimizer.of(members[first:end], flat[first:end]) for first, end in self.spans]
        self.rates = rate_table(members, totals, flat.dtype).to(flat.device)
        self.grads = torch.zeros_like(flat)
        self.losses = torch.full((len(members),), torch.nan, dtype=flat.dtype, device=flat.device)
        self.diverged_at = torch.full((len(members),), NEVER)
        self.count = 0

    @property
    def done(self) -> bool:
        return self.count >= self.totals[0]

    @property
    def active(self) -> int:
        """How many rows still train."""
        return sum(total > self.count for total in self.totals)

    def outputs(self, x: Tensor, shared: bool, flat: Tensor | None = None) -> Tensor:
        """Outputs (K, n, ...) in evaluation mode, of these rows or of others of the same members."""
        if self.engine.model.training:
            self.engine.model.eval()
        return self.engine.outputs(self.flat if flat is None else flat, self.buffers, x, shared)

    def step(self) -> None:
        """One step of every row that is not finished; rows that have diverged stay where they are."""
        if not self.engine.model.training:
            self.engine.model.train()
        n, step = self.active, self.count
        params, grads = self.flat[:n], self.grads[:n]
        batch = self.feed.batch(step, n)
        buffers = {name: value[:n] for name, value in self.buffers.items()}
        losses = self.engine.gradients(params, buffers, batch, self.masks.at(step, n), grads)
        # The sum of a row of gradients is finite only if all of it is: one cheap pass instead of a mask.
        self._mark_diverged(~torch.isfinite(losses + grads.sum(1)), step)
        dead = (self.diverged_at[:n] != NEVER).nonzero().flatten().to(params.device)
        kept = params[dead] if len(dead) else None
        for (first, end), optimizer in zip(self.spans, self.optimizers, strict=True):
            if end <= n:
                optimizer.step(params[first:end], grads[first:end], self.rates[step, first:end], step + 1)
        if kept is not None:
            params[dead] = kept
        self.losses[:n] = losses
        self.count += 1

    def _mark_diverged(self, bad: Tensor, step: int) -> None:
        if bad.any():
            fresh = bad.cpu() & (self.diverged_at[: len(bad)] == NEVER)
            self.diverged_at[: len(bad)][fresh] = step

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs; random streams need nothing."""
        slots = {
            f"slot.{i}.{name}": v for i, own in enumerate(self.optimizers) for name, v in own.slots.items()
        }
        buffers = {f"buffer.{name}": value for name, value in self.buffers.items()}
        own = {"flat": self.flat, "losses": self.losses, "diverged_at": self.diverged_at}
        return {**own, **slots, **buffers, "count": torch.tensor(self.count)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, value in self.state().items():
            if name != "count":
                value.copy_(state[name])
        self.count = int(state["count"])


def same_update(member: Member, total: int) -> tuple[int, str, tuple[float, float]]:
    """Members that agree in this are updated by one call."""
    return -total, member.optimizer, member.betas


def _find_spans(members: Sequence[Member], totals: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of neighbours that are updated by one call."""
    keys = [same_update(member, total) for member, total in zip(members, totals, strict=True)]
    starts = [at for at, key in enumerate(keys) if at == 0 or key != keys[at - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))
