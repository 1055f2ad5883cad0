"""The donor's units first brought into the receiver's order, then its row, its cascade or an average taken."""

from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.alignment import Orders, by_activations, by_weights, permuted
from digsite.graft.core.edits import edited, set_rows
from digsite.graft.core.merging import mixed, repaired
from digsite.graft.core.nets import acts, is_plain, layers, matrices
from digsite.graft.core.operate import rebuilt
from digsite.graft.core.operate import whole_donor as message
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = True


class Options(Config):
    match: Literal["weights", "acts"] = Field("weights", description="what pairs the units")
    data: str = Field("", pattern="^[sau]*$", description="images for matching by activations and for REPAIR")
    take: Literal["row", "cascade", "average"] = Field("row", description="what is then taken from the donor")
    repair: bool = Field(False, description="rescale units to their parents' statistics (with take=average)")
    n_images: int = Field(2000, gt=0, description="at most so many images of each kind")


def budget(options: Options) -> str:
    if (options.match == "acts" or options.repair) and not options.data:
        raise UsageError("Matching by activations and REPAIR need images.", hint="Say which: data=s, a or u.")
    return options.data or "w"


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    if not is_plain(receiver.model):
        raise UsageError("'rebasin' needs plain ReLU networks.", hint="Use distill or ridge_all.")
    donor = rebuilt(receiver, sent)
    x = receiver.access.mixed(options.data, options.n_images).x if options.data else None
    weights, biases = matrices(donor)
    ordered = write(donor, *permuted(weights, biases, _orders(options, receiver, donor, x)))
    if options.take == "average":
        state = mixed(dict(receiver.model.state_dict()), dict(ordered.state_dict()), 0.5)
        model = edited(receiver.model)
        model.load_state_dict(state)
        return repaired(model, x, receiver.model, ordered, 0.5) if options.repair and x is not None else model
    name = receiver.pair.heads()[1]
    if options.take == "cascade":
        side = replace(receiver, model=ordered, head=name)
        picks = rows.cascade(ordered, rows.head_importance(side), 24, [6, 4, 3])
        return rows.implant(receiver, rows.transplant(side, picks))
    top = rows.rows_of(ordered, name, receiver.new)
    return set_rows(receiver.model, receiver.head, receiver.new, *top)


def _orders(options: Options, receiver: Side, donor: nn.Module, x: Tensor | None) -> Orders:
    if options.match == "weights":
        return by_weights(matrices(receiver.model)[0], matrices(donor)[0], draw=receiver.generator("rebasin"))
    assert x is not None
    return by_activations(acts(receiver.model, x, receiver.head).hidden, acts(donor, x).hidden)


def write(model: nn.Module, weights: list[Tensor], biases: list[Tensor]) -> nn.Module:
    """A copy of the model with these matrices."""
    copy = edited(model)
    for layer, w, b in zip(layers(copy).values(), weights, biases):
        layer.weight.data.copy_(w)
        if layer.bias is not None:
            layer.bias.data.copy_(b)
    return copy
