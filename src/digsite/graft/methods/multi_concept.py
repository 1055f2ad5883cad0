"""Several of the donor's classes carried over at once, some of them only as rivals (framework method 6)."""

import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.graft.code_transport import fitting_images
from digsite.graft.edits import ReadAll
from digsite.graft.maps import ridge
from digsite.graft.nets import head, predict
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    source: str = Field("", description="rows carried over, such as 4,5; default: new and foreign")
    install: str = Field("", description="classes that the receiver then names; default: the new ones")
    data: str = Field(
        "au", pattern="^[sau]+$", description="images that the map is fitted on, in budget letters"
    )
    n_images: int = Field(4000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def classes(text: str, default: list[int]) -> list[int]:
    return [int(c) for c in text.replace("-", ",").split(",")] if text else default


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    pair = receiver.pair
    source = classes(options.source, [*pair.new, *pair.foreign])
    install = classes(options.install, receiver.new)
    donor = rebuilt(receiver, message)
    wide = head(donor, pair.heads()[1]).out_features
    if unknown := [c for c in {*source, *install} if c >= wide or c in pair.old]:
        raise UsageError(
            f"Class {unknown[0]} is no class that the donor could bring.", hint="Use new or foreign ones."
        )
    images = fitting_images(receiver, options.data, options.n_images, options.n_widened)
    theirs = predict(donor, images.x)
    mine = receiver.access.lens.acts(receiver.model, images).everything
    columns = sorted({*source, *install})
    fit = ridge(mine, theirs[:, columns], 3e-3)
    rivals = [c for c in source if c not in install]
    wanted = [columns.index(c) for c in install]
    if not rivals:
        return ReadAll(receiver.model, receiver.head, install, fit.weight[wanted], fit.bias[wanted])
    # a rival that is not installed lowers the new logits by what it stands above its own mean
    against = [columns.index(c) for c in rivals]
    weight = fit.weight[wanted] - 0.5 * fit.weight[against].mean(0)
    shift = theirs[:, rivals].mean() if len(theirs) else torch.zeros(())
    bias = fit.bias[wanted] - 0.5 * (fit.bias[against].mean() - shift)
    return ReadAll(receiver.model, receiver.head, install, weight, bias)
