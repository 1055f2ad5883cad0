"""Scores of all members in one pass."""

from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.train.ensemble import Ensemble
from digsite.train.selection import plant


@dataclass(frozen=True)
class Scores:
    """Per member: mean loss, accuracy, accuracy per class (K, C), and the mean probability of its answers."""

    loss: Tensor
    accuracy: Tensor
    per_class: Tensor
    confidence: Tensor


def evaluate(ensemble: Ensemble, x: Tensor, y: Tensor, batch: int = 1024) -> Scores:
    """Classification scores on shared examples with clean labels."""
    y = y.to(ensemble.device)
    n_classes = int(y.max()) + 1
    hits, loss, confidence = [], torch.zeros(()), torch.zeros(())
    for start in range(0, len(x), batch):
        logits = ensemble.forward(x[start : start + batch])
        logs, truth = logits.log_softmax(-1), y[start : start + batch]
        hits.append(logits.argmax(-1) == truth)
        picked = truth.expand(len(logs), -1)[..., None]
        loss = loss - logs.gather(-1, picked).squeeze(-1).sum(1)
        confidence = confidence + logs.amax(-1).exp().sum(1)
    hit = torch.cat(hits, dim=1).to(loss.dtype)
    of_class = torch.nn.functional.one_hot(y, n_classes).to(hit)
    return Scores(loss / len(x), hit.mean(1), hit @ of_class / of_class.sum(0), confidence / len(x))


def attack_success(ensemble: Ensemble, x: Tensor, y: Tensor, batch: int = 1024) -> Tensor:
    """Share of triggered images of other classes that a poisoned member sends to its target; NaN without backdoor."""
    share = torch.full((len(ensemble.members),), torch.nan)
    for index, member in enumerate(ensemble.members):
        if member.backdoor is not None:
            others = x[y != member.backdoor.target]
            answers = ensemble.forward_one(index, plant(others, member.backdoor), batch).argmax(-1)
            share[index] = (answers == member.backdoor.target).float().mean()
    return share
