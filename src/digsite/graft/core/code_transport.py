"""The donor's rows read through a code that both networks write: what four of the framework's methods share."""

from torch import nn

from digsite.graft.core.access import Images
from digsite.graft.core.edits import Beside
from digsite.graft.core.fitting import donor_acts
from digsite.graft.core.operate import rebuilt
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.rows import rows_of
from digsite.graft.core.shared_codes import Features, fit_shared_codes

KEPT = 128  # principal directions that stand for a network's features while a dictionary is fitted


def through_codes(
    receiver: Side,
    sent: Message,
    images: Images,
    *,
    width: int,
    sparsity: float,
    levels: tuple[int, ...] = (),
    companions: list[nn.Module] | None = None,
    steps: int = 250,
) -> nn.Module:
    """A joint dictionary of receiver, donor and companions; the receiver's code decoded as the donor's features."""
    lens, mates = receiver.access.lens, companions or []

    def summary(model: nn.Module) -> Features:
        seen = lens.acts(model, images, receiver.head if model is receiver.model else None)
        return lens.once(model, ("features", images.key), lambda: Features.of(seen.everything, KEPT))

    theirs = Features.of(donor_acts(receiver, sent, images).last, KEPT)
    draw = receiver.generator("codes", width)
    parts = [summary(receiver.model), theirs, *(summary(net) for net in mates)]
    shared = fit_shared_codes(parts, width, sparsity, draw, levels=levels, steps=steps)
    row, bias = rows_of(rebuilt(receiver, sent), receiver.pair.heads()[1], receiver.new)
    return Beside(receiver.model, receiver.head, receiver.new, shared.reader(0, 1, row, bias))
