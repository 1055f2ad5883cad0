"""Distillation without any image: both networks answer random pen strokes drawn by a program."""

import torch
from torch import nn

from digsite.config import Config, Field
from digsite.graft.drawn import strokes
from digsite.graft.edits import with_outputs
from digsite.graft.methods.distill import follow
from digsite.graft.methods.union import Rule, new_logits
from digsite.graft.nets import predict
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side
from digsite.graft.tune import fit_network

SAME_SHAPE = False


class Options(Config):
    n_images: int = Field(6000, gt=0, description="pictures to draw")
    rule: Rule = Field("guarded", description="which new logit is followed, as in union")
    steps: int = Field(300, gt=0, description="gradient steps")
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    batch: int = Field(256, gt=0, description="pictures per step")


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    frame = receiver.access.frame
    x = strokes(options.n_images, frame.shape, receiver.generator("strokes"), frame.low, frame.high)
    model = with_outputs(receiver.model, receiver.head, receiver.new)
    target = predict(model, x)
    target[:, receiver.new] = new_logits(
        target, predict(rebuilt(receiver, message), x), receiver.pair, options.rule
    )
    draw: torch.Generator = receiver.generator("distill-strokes")
    steps, batch = options.steps, options.batch
    return fit_network(model, x, target, follow(receiver), steps=steps, lr=options.lr, batch=batch, draw=draw)
