"""Scores of all members in one pass."""

from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.train.ensemble import Ensemble
from digsite.train.selection import plant

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
    """Classification scores on shared examples, of the ensemble's weights or of other ones (K, P)."""
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
        _calibration(hit, sure),
        hit,
    )


def _calibration(hit: Tensor, sure: Tensor) -> Tensor:
    """Mean gap between confidence and accuracy over bins of confidence, weighted by their size."""
    place = (sure * BINS).nan_to_num(0).long().clamp(0, BINS - 1)
    gaps = torch.zeros(len(hit), BINS, dtype=hit.dtype, device=hit.device).scatter_add_(1, place, sure - hit)
    return gaps.abs().sum(1) / hit.shape[1]


@public_method(holes=("*",), x=Numbers(), y=Numbers(1))
def attack_success(ensemble: Ensemble, x: Tensor, y: Tensor, batch: int = 1024) -> Tensor:
    """Share of triggered images of other classes that a poisoned member sends to its target; NaN without backdoor."""
    share = torch.full((len(ensemble.members),), torch.nan)
    for index, member in enumerate(ensemble.members):
        if member.backdoor is not None:
            others = x[y != member.backdoor.target]
            answers = ensemble.forward_one(index, plant(others, member.backdoor), batch).argmax(-1)
            share[index] = (answers == member.backdoor.target).float().mean()
    return share
