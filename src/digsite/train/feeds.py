"""Mini-batches for a group of members: from stored examples in each member's own order, or made on the fly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.train.member import Indices, Member, data_stream, plant_trigger, select_examples

BLOCK = 32  # steps whose indices are prepared at once
BatchFunction = Callable[..., tuple[Tensor, Tensor]]
ORDER_BLOCK = 4096  # examples per shuffle of a small set: one generator then serves many epochs


@dataclass(frozen=True)
class Batch:
    """x and y of one step: (B, ...) when `shared`, else (K, B, ...)."""

    x: Tensor
    y: Tensor
    shared: bool


@dataclass(frozen=True)
class Examples:
    """A stored training set."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Stream:
    """Data made on the fly: `batch(step)` for all members alike, or `batch(step, member)` for each its own."""

    batch: BatchFunction
    per_member: bool = False


class Feed(Protocol):
    """Where a group's batches come from."""

    def batch(self, step: int, active: int) -> Batch:
        """The batch of `step` for the first `active` members."""
        ...


def as_data(data: Any) -> Examples | Stream:
    """Accepts an image set, (x, y), a batch function, Examples or Stream."""
    if isinstance(data, (Examples, Stream)):
        return data
    if hasattr(data, "x_train"):
        return Examples(data.x_train, data.y_train)
    if isinstance(data, tuple) and len(data) == 2:
        return Examples(*data)
    if isinstance(data, Tensor):
        return Examples(data, data)
    if callable(data):
        return Stream(cast("BatchFunction", data))
    raise UsageError(
        f"{type(data).__name__} is no training data: pass an image set, (x, y) or a function of the step"
    )


class Order:
    """The endless sequence of positions a member visits: permutation after permutation."""

    def __init__(self, member: Member, n: int) -> None:
        self.member, self.n = member, n
        self.epochs = max(1, -(-ORDER_BLOCK // n))
        self._cached: tuple[int, Indices] | None = None

    def block(self, index: int) -> Indices:
        """Several permutations drawn together: making a generator costs more than shuffling a small set."""
        if self._cached is None or self._cached[0] != index:
            grid = np.tile(np.arange(self.n, dtype=np.int64), (self.epochs, 1))
            shuffled = data_stream(self.member, "order", index).permuted(grid, axis=1, out=grid)
            self._cached = (index, shuffled.reshape(-1))
        return self._cached[1]

    def take(self, start: int, count: int) -> Indices:
        """`count` positions from `start` on; crossing into the next permutation where need be."""
        size, parts = self.n * self.epochs, []
        while count > 0:
            index, offset = divmod(start, size)
            parts.append(self.block(index)[offset : offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class StreamFeed:
    """Batches from a user's function."""

    def __init__(self, members: Sequence[Member], stream: Stream, like: Tensor) -> None:
        self.members, self.stream, self.like = members, stream, like

    def batch(self, step: int, active: int) -> Batch:
        """x and y of one step, stacked where each member draws its own."""
        if not self.stream.per_member:
            return Batch(*(_place_like(part, self.like) for part in self.stream.batch(step)), shared=True)
        pairs = [self.stream.batch(step, member) for member in self.members[:active]]
        x, y = (torch.stack(part) for part in zip(*pairs, strict=True))
        return Batch(_place_like(x, self.like), _place_like(y, self.like), shared=False)


@dataclass(frozen=True)
class Pool:
    """All members' examples in one place: the stored ones, then each poisoned member's triggered copies."""

    x: Tensor
    y: Tensor
    rows: list[Indices]
    labels: list[Indices | None]

    @classmethod
    def of(cls, members: Sequence[Member], data: Examples, like: Tensor) -> "Pool":
        """A poisoned member's changed images are appended and its rows point there: the shared images are
        stored once.
        """
        parts, end, tables = [data.x], len(data.x), []
        selections = [select_examples(member, data.y) for member in members]
        for member, selection in zip(members, selections, strict=True):
            rows = selection.rows.copy()
            if member.backdoor is not None:
                hit = np.flatnonzero(selection.poisoned)
                parts.append(plant_trigger(data.x[torch.from_numpy(rows[hit])], member.backdoor))
                rows[hit] = end + np.arange(len(hit))
                end += len(hit)
            tables.append(rows)
        x = torch.cat(parts) if len(parts) > 1 else data.x
        return cls(_place_like(x, like), _place_like(data.y, like), tables, [s.labels for s in selections])


class ExampleFeed:
    """Batches of stored examples; members with one data seed and one subset share a single batch.

    `index` says which members of the pool these are.
    """

    def __init__(self, members: Sequence[Member], pool: Pool, index: Sequence[int]) -> None:
        self.x, self.y, self.size = pool.x, pool.y, members[0].batch
        self.shared = len({_data_recipe(member) for member in members}) == 1
        own = list(zip(members, index, strict=True))[: 1 if self.shared else None]
        self.rows = [pool.rows[i] for _, i in own]
        self.labels = [pool.labels[i] for _, i in own]
        self.orders = [Order(member, len(pool.rows[i])) for member, i in own]
        self._block: tuple[int, Tensor, Tensor | None] | None = None

    def batch(self, step: int, active: int) -> Batch:
        rows, labels = self._fetch_block(step)
        rows = rows[:active]
        x = self.x.index_select(0, rows.reshape(-1)).view(*rows.shape, *self.x.shape[1:])
        if labels is None:
            y = self.y.index_select(0, rows.reshape(-1)).view(*rows.shape, *self.y.shape[1:])
        else:
            y = labels[:active]
        return Batch(x[0], y[0], True) if self.shared else Batch(x, y, False)

    def _fetch_block(self, step: int) -> tuple[Tensor, Tensor | None]:
        index, offset = divmod(step, BLOCK)
        if self._block is None or self._block[0] != index:
            self._block = (index, *self._prepare_block(index * BLOCK))
        _, rows, labels = self._block
        return rows[offset], None if labels is None else labels[offset]

    def _prepare_block(self, start: int) -> tuple[Tensor, Tensor | None]:
        shape = (BLOCK, self.size)
        taken = [order.take(start * self.size, BLOCK * self.size) for order in self.orders]
        rows = np.stack([r[t].reshape(shape) for r, t in zip(self.rows, taken, strict=True)], axis=1)
        device = self.x.device
        if self.labels[0] is None:
            return torch.from_numpy(rows).to(device), None
        named = [
            label[t].reshape(shape) for label, t in zip(self.labels, taken, strict=True) if label is not None
        ]
        return torch.from_numpy(rows).to(device), torch.from_numpy(np.stack(named, axis=1)).to(device)


def prepare_source(members: Sequence[Member], data: Examples | Stream, like: Tensor) -> Pool | Stream:
    """What the feeds of all groups share."""
    if isinstance(data, Examples):
        return Pool.of(members, data, like)
    for member in members:
        if member.missing or member.label_noise or member.backdoor or member.fraction != 1:
            raise UsageError(
                "a subset, label noise or a backdoor needs stored examples, not data made on the fly"
            )
    return data


def make_feed(members: Sequence[Member], source: Pool | Stream, index: Sequence[int], like: Tensor) -> Feed:
    if isinstance(source, Pool):
        return ExampleFeed(members, source, index)
    return StreamFeed(members, source, like)


def _data_recipe(member: Member) -> tuple[object, ...]:
    return (member.order, member.fraction, member.label_noise, member.missing, member.backdoor)


def _place_like(value: Tensor, like: Tensor) -> Tensor:
    return value.to(like) if value.is_floating_point() else value.to(like.device)
