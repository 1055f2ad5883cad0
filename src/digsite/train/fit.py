"""Training to the end in one call, with log-spaced checkpoints kept in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base.contract import public_method
from digsite.train.ensemble import Ensemble
from digsite.train.group import Group
from digsite.train.member import Member, Model

Callback = Callable[[int, Ensemble], None]


@dataclass(frozen=True)
class Trained:
    """The trained ensemble and its checkpoints: `snapshots[s, k]` is the row of member k after `steps[s]` steps."""

    ensemble: Ensemble
    steps: tuple[int, ...]
    snapshots: Tensor
    losses: Tensor

    @property
    def flat(self) -> Tensor:
        return self.ensemble.flat


@public_method()
def log_spaced(total: int, count: int) -> tuple[int, ...]:
    """`count` steps from 0 to `total`, evenly spaced in log(1 + step), without repeats."""
    spaced = np.expm1(np.linspace(0, np.log1p(total), count))
    return tuple(sorted({round(step) for step in spaced.tolist()}))


@public_method(holes=("losses", "snapshots", "flat"))
def train_ensemble(
    model: Model,
    data: Any,
    members: Sequence[Member],
    *,
    checkpoints: Sequence[int] = (),
    callback: Callback | None = None,
    every: int = 1,
    **options: Any,
) -> Trained:
    """Train all members; `callback(step, ensemble)` is called before the first step and after each `every` steps.

    A member that runs away has NaN for its losses and its row, and leaves the others as they are.

    `options` are those of Ensemble. Without a callback the groups run one after the other, which keeps each in cache.
    """
    ensemble = Ensemble(model, data, members, **options)
    steps = tuple(sorted(set(checkpoints)))
    snapshots = [
        torch.empty(len(steps), *group.flat.shape, dtype=group.flat.dtype) for group in ensemble.groups
    ]
    losses = [
        torch.full((len(steps), len(group.members)), torch.nan, dtype=group.flat.dtype)
        for group in ensemble.groups
    ]
    if callback is None:
        for group, kept, loss in zip(ensemble.groups, snapshots, losses, strict=True):
            _keep(group, steps, kept, loss)
            while not group.done:
                group.step()
                _keep(group, steps, kept, loss)
    else:
        _lockstep(ensemble, steps, snapshots, losses, callback, every)
    return Trained(ensemble, steps, _in_order(ensemble, snapshots), _in_order(ensemble, losses))


def _lockstep(
    ensemble: Ensemble,
    steps: Sequence[int],
    snapshots: list[Tensor],
    losses: list[Tensor],
    callback: Callback,
    every: int,
) -> None:
    while True:
        for group, kept, loss in zip(ensemble.groups, snapshots, losses, strict=True):
            if group.count == ensemble.count:
                _keep(group, steps, kept, loss)
        if ensemble.count % every == 0 or ensemble.done:
            callback(ensemble.count, ensemble)
        if ensemble.done:
            return
        ensemble.step()


def _keep(group: Group, steps: Sequence[int], kept: Tensor, losses: Tensor) -> None:
    """Store the rows if this step is wanted; a group that is done early stands for all later steps too."""
    for at, step in enumerate(steps):
        if step == group.count or (group.done and step > group.count):
            kept[at] = group.flat
            losses[at] = group.losses


def _in_order(ensemble: Ensemble, parts: Sequence[Tensor]) -> Tensor:
    joined = torch.cat(list(parts), dim=1)
    out = torch.empty_like(joined)
    out[:, [i for index in ensemble.indices for i in index]] = joined
    return out
