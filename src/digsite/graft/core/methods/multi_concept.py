"""Several of the donor's classes carried over at once, some of them only as rivals (framework method 6)."""

from torch import nn

from digsite.base.errors import UsageError
from digsite.config import Field
from digsite.graft.core.edits import Beside
from digsite.graft.core.fitting import Fitting, budget, donor_acts, fitting_images, message, regressed
from digsite.graft.core.maps import Affine
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    source: str = Field("", description="rows carried over, such as 4,5; default: new and foreign")
    install: str = Field("", description="classes that the receiver then names; default: the new ones")


def classes(text: str, default: list[int]) -> list[int]:
    return [int(c) for c in text.replace("-", ",").split(",")] if text else default


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    pair, images = receiver.pair, fitting_images(options, receiver)
    source = classes(options.source, [*pair.new, *pair.foreign])
    install = classes(options.install, receiver.new)
    theirs = donor_acts(receiver, sent, images).logits
    if unknown := [c for c in {*source, *install} if c >= theirs.shape[1] or c in pair.old]:
        raise UsageError(
            f"Class {unknown[0]} is no class that the donor could bring.", hint="Use new or foreign ones."
        )
    columns = sorted({*source, *install})
    fit = regressed(receiver, images, theirs[:, columns], 3e-3)
    wanted = [columns.index(c) for c in install]
    weight, bias = fit.weight[wanted], fit.bias[wanted]
    if rivals := [c for c in source if c not in install]:
        # a rival that is not installed lowers the new logits by what it stands above its own mean
        against = [columns.index(c) for c in rivals]
        weight = weight - 0.5 * fit.weight[against].mean(0)
        bias = bias - 0.5 * (fit.bias[against].mean() - theirs[:, rivals].mean())
    return Beside(receiver.model, receiver.head, install, Affine(weight, bias).layer())
