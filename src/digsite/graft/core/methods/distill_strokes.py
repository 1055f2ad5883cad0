"""Distillation without any image: both networks answer random pen strokes drawn by a program."""

import torch
from torch import nn

from digsite.config import Config, Field
from digsite.graft.core.access import Images
from digsite.graft.core.drawn import strokes
from digsite.graft.core.methods.distill import follow
from digsite.graft.core.methods.union import Rule
from digsite.graft.core.operate import whole_donor as message
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Config):
    n_images: int = Field(6000, gt=0, description="pictures to draw")
    rule: Rule = Field("guarded", description="which new logit is followed, as in union")
    steps: int = Field(300, gt=0, description="gradient steps")
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    batch: int = Field(256, gt=0, description="pictures per step")


def budget(options: Options) -> str:
    return "w"


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images, draw = pictures(receiver, options.n_images), receiver.generator("distill-strokes")
    return follow(receiver, sent, images, options.rule, draw, options.steps, options.lr, options.batch)


def pictures(receiver: Side, n: int) -> Images:
    """Drawn once for all that want as many."""
    frame, key = receiver.access.frame, f"strokes/{receiver.seed}:{n}"

    def compute() -> Images:
        x = strokes(n, frame.shape, receiver.generator("strokes"), frame.low, frame.high)
        return Images(x, torch.full((n,), -1), key)

    return receiver.access.lens.once(receiver.model, (key,), compute)
