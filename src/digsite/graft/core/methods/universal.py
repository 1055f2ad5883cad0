"""One dictionary over several architectures, companions of the receiver among them (framework method 8)."""

from torch import nn

from digsite.config import Field
from digsite.graft.core.code_transport import through_codes
from digsite.graft.core.fitting import Fitting, budget, fitting_images, message
from digsite.graft.core.nets import layers
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import train_companion

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False
HIDDEN = ([64, 32], [128], [64, 64, 64])  # a companion each


class Options(Fitting):
    data: str = Field(
        "au", pattern="^[sau]*a[sau]*$", description="images of the dictionary; companions train on a"
    )
    width: int = Field(32, gt=0, description="codes of the dictionary")
    n_architectures: int = Field(
        3, ge=3, le=5, description="networks that share it, receiver and donor included"
    )
    sparsity: float = Field(0.02, ge=0, description="penalty on the mean code")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    mates = [companion(receiver, i) for i in range(options.n_architectures - 2)]
    images = fitting_images(options, receiver)
    return through_codes(
        receiver, sent, images, width=options.width, sparsity=options.sparsity, companions=mates
    )


def companion(receiver: Side, index: int) -> nn.Module:
    """A small network of another architecture that the receiver's owner trains on the same old classes."""
    old = receiver.access.old(6000)
    n_classes = list(layers(receiver.model).values())[-1].weight.shape[0]

    def compute() -> nn.Module:
        sizes = [old.x.shape[1:].numel(), *HIDDEN[index], n_classes]
        return train_companion(sizes, old.x, old.y, receiver.generator("companion", index))

    return receiver.access.lens.once(receiver.model, ("companion", index, old.key), compute)
