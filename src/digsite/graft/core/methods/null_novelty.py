"""Null: "unknown means new"; the new logit is low confidence in the old classes, and no donor is asked."""

from typing import Literal

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core.edits import Reading
from digsite.graft.core.nets import Acts
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    rule: Literal["logit", "softmax", "mahalanobis"] = Field("logit", description="what counts as unknown")


def budget(options: Options) -> str:
    return "a"


def message(options: Options, donor: Side) -> Message:
    return Message({})


class Novelty(Reading):
    """margin = level - familiarity, so that calibration alone sets where old ends and new begins."""

    mean: Tensor
    precision: Tensor

    def __init__(self, base: nn.Module, side: Side, rule: str, last: Tensor, y: Tensor) -> None:
        super().__init__(base, side.head, side.new)
        self.rule, self.old = rule, list(side.pair.old)
        centers = torch.stack([last[y == c].mean(0) for c in self.old])
        spread = torch.cat([last[y == c] - m for c, m in zip(self.old, centers)])
        cov = spread.T @ spread / len(spread)
        cov.diagonal().add_(1e-3 * cov.diagonal().mean())
        self.register_buffer("mean", centers)
        self.register_buffer("precision", torch.linalg.inv(cov))
        self.level = 0.0

    def familiarity(self, logits: Tensor, last: Tensor) -> Tensor:
        if self.rule == "logit":
            return logits[:, self.old].amax(1)
        if self.rule == "softmax":
            p = logits[:, self.old].log_softmax(1).amax(1)
            return p - torch.log1p(-p.exp().clamp(max=1 - 1e-7))
        away = last[:, None] - self.mean
        return -torch.einsum("nci,ij,ncj->nc", away, self.precision, away).amin(1)

    def values(self, seen: Acts) -> Tensor:
        best = seen.logits[:, self.old].amax(1, keepdim=True)
        return best + self.level - self.familiarity(seen.logits, seen.last)[:, None]


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    old = receiver.access.old(4000)
    seen = receiver.acts(old)
    model = Novelty(receiver.model, receiver, options.rule, seen.last, old.y)
    known = model.familiarity(seen.logits, seen.last)
    model.level = float(known.quantile(0.005))  # as left by the method: 0.5 % of its own images look new
    return model
