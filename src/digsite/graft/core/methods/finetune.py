"""No donor: the receiver trained on labelled new images beside its old ones; with all of them, the upper bound."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Field
from digsite.graft.core.edits import edited, with_outputs
from digsite.graft.core.labelled import Labelled, budget, examples, message
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import fit_network

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Labelled):
    n_old: int = Field(4000, gt=0, description="old-class images replayed")
    share: float = Field(0.3, gt=0, lt=1, description="share of new images in what is seen")
    steps: int = Field(200, gt=0, description="gradient steps")
    lr: float = Field(5e-4, gt=0, description="highest learning rate")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images = examples(options, receiver)
    is_new = torch.isin(images.y, torch.tensor(receiver.new))
    n_old = int((~is_new).sum())
    want = round(options.share * n_old / (1 - options.share))
    new_rows = is_new.nonzero()[:, 0]
    index = torch.cat([(~is_new).nonzero()[:, 0], new_rows[torch.arange(want) % len(new_rows)]])
    model = edited(with_outputs(receiver.model, receiver.head, receiver.new))
    draw = receiver.generator("finetune")

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y)

    x, y = images.x[index], images.y[index]
    return fit_network(model, x, y, loss, steps=options.steps, lr=options.lr, batch=128, draw=draw)
