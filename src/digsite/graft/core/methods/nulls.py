"""Nulls: what a graft must beat, since no donor's knowledge is in it. "Unknown means new" alone finds half of a class."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core.edits import ReadingGraft, copy_model, set_rows, widen_head
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.methods.transplants import send_head_rows
from digsite.graft.core.nets import Acts, find_head
from digsite.graft.core.pair import Message, Side

FAMILIAR = 0.005  # share of the receiver's own images that look new as the null leaves it; calibration sets its own rate


class NullDeadRow(GraftMethod):
    """Null: the receiver's own untrained row for the new class; only calibration makes it speak."""

    DONORLESS = True
    GROUP = "null"

    def declare_budget(self) -> str:
        """Weights alone."""
        return "w"

    def take_message(self, donor: Side) -> Message:
        """Nothing."""
        return Message({})

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver, with a row for the new class where its head has none."""
        return copy_model(widen_head(receiver.model, receiver.head, receiver.new))


class RandomRow(GraftMethod):
    """Null: a random head row of the donor row's length."""

    GROUP = "null"

    def declare_budget(self) -> str:
        """Weights alone."""
        return "w"

    def take_message(self, donor: Side) -> Message:
        """Only the length of the row and its bias cross."""
        top = send_head_rows(donor).tensors
        return Message({"norm": top["head/weight"].norm(dim=1), "bias": top["head/bias"]})

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with a row in a random direction."""
        width = find_head(receiver.model, receiver.head).in_features
        row = torch.randn(len(receiver.new), width, generator=receiver.make_generator("random-row"))
        row *= message.tensors["norm"][:, None].abs() / row.norm(dim=1, keepdim=True)
        return set_rows(receiver.model, receiver.head, receiver.new, row, message.tensors["bias"])


class NullNovelty(GraftMethod):
    """Null: "unknown means new"; the new logit is low confidence in the old classes, and no donor is asked."""

    DONORLESS = True
    GROUP = "null"
    STUDIED = ("", "rule=softmax", "rule=mahalanobis")

    class Settings(Config):
        rule: Literal["logit", "softmax", "mahalanobis"] = Field(
            "logit", description="what counts as unknown"
        )

    def declare_budget(self) -> str:
        """The receiver's own images, to know what is familiar."""
        return "a"

    def take_message(self, donor: Side) -> Message:
        """Nothing."""
        return Message({})

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with one more logit, which is high where nothing is familiar."""
        old = receiver.access.open_old(4000)
        seen = receiver.collect_acts(old)
        model = Novelty(receiver.model, receiver, self.settings.rule, seen.last, old.y)
        known = model.measure_familiarity(seen.logits, seen.last)
        model.level = float(known.quantile(FAMILIAR))
        return model


class Novelty(ReadingGraft):
    """margin = level - familiarity, so that calibration alone sets where old ends and new begins."""

    mean: Tensor
    precision: Tensor

    def __init__(
        self, base: nn.Module, side: Side, rule: str, last: Float[Tensor, "n width"], y: Int[Tensor, "n"]
    ) -> None:
        super().__init__(base, side.head, side.new)
        self.rule, self.old = rule, list(side.pair.old)
        centers = torch.stack([last[y == c].mean(0) for c in self.old])
        spread = torch.cat([last[y == c] - m for c, m in zip(self.old, centers)])
        cov = spread.T @ spread / len(spread)
        cov.diagonal().add_(1e-3 * cov.diagonal().mean())  # dead units have no spread at all
        self.register_buffer("mean", centers)
        self.register_buffer("precision", torch.linalg.inv(cov))
        self.level = 0.0

    def measure_familiarity(
        self, logits: Float[Tensor, "n classes"], last: Float[Tensor, "n width"]
    ) -> Float[Tensor, "n"]:
        """How much each input looks like an old class, by the rule."""
        if self.rule == "logit":
            return logits[:, self.old].amax(1)
        if self.rule == "softmax":
            p = logits[:, self.old].log_softmax(1).amax(1)
            return p - torch.log1p(-p.exp().clamp(max=1 - 1e-7))  # log odds: sure inputs do not pile up at 1
        away = last[:, None] - self.mean
        return -torch.einsum("nci,ij,ncj->nc", away, self.precision, away).amin(1)

    def new_logits(self, seen: Acts) -> Float[Tensor, "n 1"]:
        """Above the best old logit by as much as the input is less familiar than the level."""
        best = seen.logits[:, self.old].amax(1, keepdim=True)
        return best + self.level - self.measure_familiarity(seen.logits, seen.last)[:, None]
