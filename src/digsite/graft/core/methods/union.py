"""Both networks side by side in one: the receiver's logits and, for the new class, the donor's."""

from typing import Literal

from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core.edits import put, side_by_side, with_outputs
from digsite.graft.core.nets import Composite, is_plain, shaped
from digsite.graft.core.operate import rebuilt
from digsite.graft.core.operate import whole_donor as message
from digsite.graft.core.pair import Message, Pair, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False
Rule = Literal["logit", "margin", "guarded"]


class Options(Config):
    rule: Rule = Field(
        "logit",
        description="the new logit: the donor's own; its lead over the donor's other classes; or the donor's on the "
        "receiver's scale (shared classes as the yardstick), never above what that lead allows",
    )


def budget(options: Options) -> str:
    return "w"


class Union(Composite):
    def __init__(self, a: nn.Module, b: nn.Module, head: str, pair: Pair, rule: str) -> None:
        super().__init__()
        self.a, self.b, self.pair, self.rule = with_outputs(a, head, list(pair.new)), b, pair, rule

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(shaped(self.a, x)), self.b(shaped(self.b, x))
        return put(a, list(self.pair.new), new_logits(a, b, self.pair, self.rule))


def new_logits(a: Tensor, b: Tensor, pair: Pair, rule: str) -> Tensor:
    """New logits on the receiver's scale, from both networks' outputs."""
    new, shared, rest = list(pair.new), list(pair.shared), [*pair.shared, *pair.foreign]
    if rule == "logit":
        return b[:, new]
    lead = a[:, list(pair.old)].amax(1, keepdim=True) + b[:, new] - b[:, rest].amax(1, keepdim=True)
    if rule == "margin":
        return lead
    if not shared:
        return lead.minimum(b[:, new])
    yardstick = a[:, shared].amax(1, keepdim=True) - b[:, shared].amax(1, keepdim=True)
    return lead.minimum(b[:, new] + yardstick)


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    donor = rebuilt(receiver, sent)
    if options.rule == "logit" and is_plain(receiver.model) and is_plain(donor):
        return side_by_side(receiver.model, donor, receiver.new)
    return Union(receiver.model, donor, receiver.head, receiver.pair, options.rule)
