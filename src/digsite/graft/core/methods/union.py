"""Both networks side by side in one: the receiver's logits and, for the new class, the donor's."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core.edits import join_networks, put_logits, widen_head
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.nets import Composite, is_plain, shape_images
from digsite.graft.core.operate import rebuild_donor, send_whole_donor
from digsite.graft.core.pair import Message, Pair, Side

Rule = Literal["logit", "margin", "guarded"]


class Union(GraftMethod):
    """Both networks side by side in one: the receiver's logits and, for the new class, the donor's."""

    GROUP = "honest"
    STUDIED = ("", "rule=margin", "rule=guarded")

    class Settings(Config):
        rule: Rule = Field(
            "logit",
            description="the new logit: the donor's own; its lead over the donor's other classes; or the donor's on the "
            "receiver's scale (shared classes as the yardstick), never above what that lead allows",
        )

    def declare_budget(self) -> str:
        """Weights alone."""
        return "w"

    def take_message(self, donor: Side) -> Message:
        """All weights of the donor."""
        return send_whole_donor(donor)

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """One plain network of both where rule and architectures allow it, else the two beside each other."""
        donor = rebuild_donor(receiver, message)
        if self.settings.rule == "logit" and is_plain(receiver.model) and is_plain(donor):
            return join_networks(receiver.model, donor, receiver.new)
        return SideBySide(receiver.model, donor, receiver.head, receiver.pair, self.settings.rule)


class SideBySide(Composite):
    """Receiver `a` and donor `b` on the same images; the new logits by `rule`."""

    def __init__(self, a: nn.Module, b: nn.Module, head: str, pair: Pair, rule: str) -> None:
        super().__init__()
        self.a, self.b, self.pair, self.rule = widen_head(a, head, list(pair.new)), b, pair, rule

    def forward(self, x: Tensor) -> Float[Tensor, "n classes"]:
        """Both networks run; only logits are joined."""
        a, b = self.a(shape_images(self.a, x)), self.b(shape_images(self.b, x))
        return put_logits(a, list(self.pair.new), combine_logits(a, b, self.pair, self.rule))


def combine_logits(
    a: Float[Tensor, "n classes_a"], b: Float[Tensor, "n classes_b"], pair: Pair, rule: str
) -> Float[Tensor, "n new"]:
    """New logits on the receiver's scale, from the receiver's outputs `a` and the donor's `b`.

    'logit': the donor's own. 'margin': the receiver's best old logit plus the donor's lead over its other classes.
    'guarded': the donor's logit moved by what the two say differently about shared classes, never above the margin.
    """
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
