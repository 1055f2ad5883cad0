"""The receiver itself, its weights moved until its new logit follows the donor's and its old ones stay."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.augment import widened
from digsite.graft.edits import with_outputs
from digsite.graft.methods.union import Rule, new_logits
from digsite.graft.nets import predict
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side
from digsite.graft.tune import fit_network

SAME_SHAPE = False


class Options(Config):
    data: str = Field("au", pattern="^[sau]+$", description="images used, in budget letters")
    n_images: int = Field(4000, gt=0, description="at most so many images of each kind")
    widen: float = Field(0.5, ge=0, description="bent, cut and pieced images, as a share of the others")
    rule: Rule = Field("guarded", description="which new logit is followed, as in union")
    steps: int = Field(150, gt=0, description="gradient steps")
    lr: float = Field(2e-3, gt=0, description="highest learning rate")
    batch: int = Field(256, gt=0, description="images per step")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    x = receiver.access.mixed(options.data, options.n_images).x
    n_wide = round(options.widen * len(x))
    if n_wide:
        x = torch.cat([x, widened(x, n_wide, receiver.generator("widened"))])
    model = with_outputs(receiver.model, receiver.head, receiver.new)
    target = predict(model, x)
    target[:, receiver.new] = new_logits(
        target, predict(rebuilt(receiver, message), x), receiver.pair, options.rule
    )
    loss = follow(receiver)
    draw = receiver.generator("distill")
    return fit_network(
        model, x, target, loss, steps=options.steps, lr=options.lr, batch=options.batch, draw=draw
    )


def follow(receiver: Side):
    """Squared distance to the target logits: old and new count alike, outputs nobody uses a tenth."""
    old, new = list(receiver.pair.old), receiver.new

    def loss(out: Tensor, target: Tensor) -> Tensor:
        gap = (out - target).square()
        rest = [c for c in range(out.shape[1]) if c not in old and c not in new]
        idle = 0.1 * gap[:, rest].mean() if rest else 0.0
        return gap[:, old].mean() + gap[:, new].mean() + idle

    return loss
