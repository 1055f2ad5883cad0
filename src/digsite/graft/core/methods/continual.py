"""Classes added one after the other, each onto the network that the last step left (framework method 9)."""

from dataclasses import replace

from torch import nn

from digsite.config import Field
from digsite.graft.core.fitting import Fitting, budget, message
from digsite.graft.core.methods import distill, multi_concept
from digsite.graft.core.methods.multi_concept import classes
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    order: str = Field("", description="classes in the order of adding, such as 4,5; default: the new ones")
    parallel: bool = Field(False, description="all at once instead")
    n_widened: int = Field(4000, ge=0, description="more images, bent, cut and pieced together from those")
    steps: int = Field(150, gt=0, description="gradient steps for each class")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    order = classes(options.order, receiver.new)
    if options.parallel:
        named = ",".join(map(str, order))
        together = multi_concept.Options.model_validate(
            {"source": named, "install": named, "data": options.data}
        )
        return multi_concept.apply(together, receiver, sent)
    settings = distill.Options.model_validate(options.model_dump(exclude={"order", "parallel"}))
    model, known = receiver.model, list(receiver.pair.old)
    for i, c in enumerate(order):
        left = tuple(f for f in (*receiver.pair.foreign, *receiver.pair.new) if f != c and f not in known)
        pair = replace(receiver.pair, receiver=model, old=tuple(known), new=(c,), foreign=left)
        step = Side(model, receiver.head, pair, receiver.access, receiver.derive("continual", i))
        model = distill.apply(settings, step, sent)
        known.append(c)
    return model
