"""The receiver itself, its weights moved until its new logit follows the donor's and its old ones stay."""

import torch
from torch import Tensor, nn

from digsite.config import Field
from digsite.graft.core.access import Images
from digsite.graft.core.edits import edited, put, with_outputs
from digsite.graft.core.fitting import Fitting, budget, donor_acts, fitting_images, message
from digsite.graft.core.methods.union import Rule, new_logits
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import fit_network, wide_enough

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    n_widened: int = Field(4000, ge=0, description="more images, bent, cut and pieced together from those")
    rule: Rule = Field("guarded", description="which new logit is followed, as in union")
    steps: int = Field(150, gt=0, description="gradient steps")
    lr: float = Field(2e-3, gt=0, description="highest learning rate")
    batch: int = Field(256, gt=0, description="images per step")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images, draw = fitting_images(options, receiver), receiver.generator("distill")
    return follow(receiver, sent, images, options.rule, draw, options.steps, options.lr, options.batch)


def follow(
    receiver: Side,
    sent: Message,
    images: Images,
    rule: Rule,
    draw: torch.Generator,
    steps: int,
    lr: float,
    batch: int,
) -> nn.Module:
    """A copy of the receiver fitted to its own old logits and the new ones that `rule` makes of both networks'."""
    model = edited(with_outputs(receiver.model, receiver.head, receiver.new))
    mine = wide_enough(receiver.acts(images).logits, receiver.new)
    theirs = donor_acts(receiver, sent, images).logits
    target = put(mine, receiver.new, new_logits(mine, theirs, receiver.pair, rule))
    return fit_network(
        model, images.x, target, distance(receiver), steps=steps, lr=lr, batch=batch, draw=draw
    )


def distance(receiver: Side):
    """Squared distance to the target logits: old and new count alike, outputs nobody uses a tenth."""
    old, new = list(receiver.pair.old), receiver.new

    def loss(out: Tensor, target: Tensor) -> Tensor:
        gap = (out - target).square()
        rest = [c for c in range(out.shape[1]) if c not in old and c not in new]
        idle = 0.1 * gap[:, rest].mean() if rest else 0.0
        return gap[:, old].mean() + gap[:, new].mean() + idle

    return loss
