"""Classes added one after the other, each onto the network that the last step left (framework method 9)."""

from dataclasses import replace

from torch import nn

from digsite.config import Config, Field
from digsite.graft.methods import multi_concept
from digsite.graft.methods.distill import Options as DistillOptions
from digsite.graft.methods.distill import apply as distill
from digsite.graft.methods.multi_concept import classes
from digsite.graft.operate import weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    order: str = Field("", description="classes in the order of adding, such as 4,5; default: the new ones")
    parallel: bool = Field(False, description="all at once instead")
    data: str = Field("au", pattern="^[sau]+$", description="images used, in budget letters")
    n_images: int = Field(3000, gt=0, description="at most so many images of each kind")
    steps: int = Field(150, gt=0, description="gradient steps for each class")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    order = classes(options.order, receiver.new)
    if options.parallel:
        named = ",".join(map(str, order))
        together = multi_concept.Options.model_validate(
            {"source": named, "install": named, "data": options.data}
        )
        return multi_concept.apply(together, receiver, message)
    settings = DistillOptions.model_validate(
        {"data": options.data, "n_images": options.n_images, "steps": options.steps}
    )
    model, known = receiver.model, list(receiver.pair.old)
    for i, c in enumerate(order):
        left = tuple(f for f in (*receiver.pair.foreign, *receiver.pair.new) if f != c and f not in known)
        pair = replace(receiver.pair, receiver=model, old=tuple(known), new=(c,), foreign=left)
        step = Side(model, receiver.head, pair, receiver.access, receiver.derive("continual", i))
        model = distill(settings, step, message)
        known.append(c)
    return model
