"""Training to the end in one call, with log-spaced checkpoints kept in memory."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.train.ensemble import Ensemble
from digsite.train.group import Group
from digsite.train.member import Member, Model, plant_trigger

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
        """The rows (K, P) at the end of training."""
        return self.ensemble.flat


@public_method()
def log_spaced(total: int, count: int) -> tuple[int, ...]:
    """`count` steps from 0 to `total`, evenly spaced in log(1 + step), without repeats.

    Most of what a training does happens early, so equal steps would store it all at the end.
    """
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

    `model` is a module or a function that builds one, `data` an image set, (x, y) or a function of the step,
    `members` one recipe each, `checkpoints` the steps whose rows are kept.
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
            _keep_checkpoint(group, steps, kept, loss)
            while not group.done:
                group.step()
                _keep_checkpoint(group, steps, kept, loss)
    else:
        _train_in_lockstep(ensemble, steps, snapshots, losses, callback, every)
    return Trained(ensemble, steps, _in_order(ensemble, snapshots), _in_order(ensemble, losses))


def _train_in_lockstep(
    ensemble: Ensemble,
    steps: Sequence[int],
    snapshots: list[Tensor],
    losses: list[Tensor],
    callback: Callback,
    every: int,
) -> None:
    """All groups take a step before the callback sees any: it must find every member at the same step."""
    while True:
        for group, kept, loss in zip(ensemble.groups, snapshots, losses, strict=True):
            if group.count == ensemble.count:
                _keep_checkpoint(group, steps, kept, loss)
        if ensemble.count % every == 0 or ensemble.done:
            callback(ensemble.count, ensemble)
        if ensemble.done:
            return
        ensemble.step()


def _keep_checkpoint(group: Group, steps: Sequence[int], kept: Tensor, losses: Tensor) -> None:
    """Store the rows if this step is wanted; a group that is done early stands for all later steps too."""
    for at, step in enumerate(steps):
        if step == group.count or (group.done and step > group.count):
            kept[at] = group.flat
            losses[at] = group.losses


def _in_order(ensemble: Ensemble, parts: Sequence[Tensor]) -> Tensor:
    """From group order to member order, on the second axis."""
    joined = torch.cat(list(parts), dim=1)
    out = torch.empty_like(joined)
    out[:, [i for index in ensemble.indices for i in index]] = joined
    return out


# Scores of all members in one pass.

BINS = 15


@dataclass(frozen=True)
class Scores:
    """Per member: mean loss, accuracy, accuracy per class (K, C), expected calibration error, and each hit (K, n)."""

    loss: Tensor
    accuracy: Tensor
    per_class: Tensor
    calibration_error: Tensor
    hits: Tensor


@public_method(x=Numbers(), y=Numbers(1))
def evaluate(
    ensemble: Ensemble, x: Tensor, y: Tensor, batch: int = 1024, flat: Tensor | None = None
) -> Scores:
    """Classification scores on shared examples, of the ensemble's weights or of other ones (K, P).

    `x` (n, ...) and labels `y` (n,), `batch` rows at a time; `flat` are other rows (K, P), such as a
    checkpoint's.
    """
    y = y.to(ensemble.device)
    hits, losses, confidence = [], [], []
    for images, truth in zip(x.split(batch), y.split(batch), strict=True):
        # Classes on axis 1: reductions over a short last axis are slow.
        logits = ensemble.forward(images, flat=flat).transpose(1, 2).contiguous()
        logs = logits.log_softmax(1)
        losses.append(logs.gather(1, truth.expand(len(logs), 1, -1)).squeeze(1).neg())
        best, answer = logs.max(1)
        hits.append((answer == truth).to(logs))
        confidence.append(best.exp())
    hit, sure = torch.cat(hits, 1), torch.cat(confidence, 1)
    of_class = torch.nn.functional.one_hot(y).to(hit)
    return Scores(
        torch.cat(losses, 1).mean(1),
        hit.mean(1),
        hit @ of_class / of_class.sum(0),
        _measure_calibration(hit, sure),
        hit,
    )


def _measure_calibration(hit: Tensor, sure: Tensor) -> Tensor:
    """Mean gap between confidence and accuracy over bins of confidence, weighted by their size."""
    bin_of = (sure * BINS).nan_to_num(0).long().clamp(0, BINS - 1)
    gaps = torch.zeros(len(hit), BINS, dtype=hit.dtype, device=hit.device).scatter_add_(1, bin_of, sure - hit)
    return gaps.abs().sum(1) / hit.shape[1]


@public_method(holes=("*",), x=Numbers(), y=Numbers(1))
def attack_success(ensemble: Ensemble, x: Tensor, y: Tensor, batch: int = 1024) -> Tensor:
    """Share of triggered images of other classes that a poisoned member sends to its target; NaN without backdoor.

    `x` images without a trigger (n, c, h, w) and their labels `y` (n,), `batch` rows at a time. Images of the
    target class are left out, for they would count as successes of no attack.

    `ensemble` is what `train_ensemble` gave.
    """
    share = torch.full((len(ensemble.members),), torch.nan)
    for index, member in enumerate(ensemble.members):
        if member.backdoor is not None:
            others = x[y != member.backdoor.target]
            answers = ensemble.forward_one(index, plant_trigger(others, member.backdoor), batch).argmax(-1)
            share[index] = (answers == member.backdoor.target).float().mean()
    return share


# How a training process uses its machine: explicit threads, and an allocator that keeps its pages.

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEEP_BYTES = 1 << 30
PAD_BYTES = 64 << 20


def prepare_process(threads: int = 1) -> bool:
    """Set the number of threads, flush denormals and tune the allocator; call it once at the start of a worker.

    Adam's second moments of unused inputs decay into denormal numbers, on which a square root is six times slower.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    return tune_allocator()


def tune_allocator() -> bool:
    """Tell glibc to keep freed memory; False where there is no glibc.

    By default a buffer of some hundred kilobytes is a mapping of its own, given back at once and zeroed page by page
    at the next use: in the training of small CNNs these page faults cost more than the arithmetic. The environment
    variables MALLOC_*_ do the same but only before a process starts.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEEP_BYTES), (M_TOP_PAD, PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
