"""The donor's row carried over by a ridge map between the two penultimate layers."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft import rows
from digsite.graft.edits import set_rows
from digsite.graft.maps import Affine, ridge
from digsite.graft.nets import acts
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    data: str = Field(
        "s", pattern="^[sau]+$", description="images that the map is fitted on, in budget letters"
    )
    n_images: int = Field(4000, gt=0, description="at most so many images of each kind")
    strength: float = Field(1e-3, gt=0, description="ridge, relative to the mean squared feature")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    images = receiver.access.mixed(options.data, options.n_images)
    donor = rebuilt(receiver, message)
    theirs = acts(donor, images.x, receiver.pair.donor_head).last
    mine = receiver.access.lens.acts(receiver.model, images).last
    carry: Affine = ridge(mine, theirs, options.strength)
    top = rows.head_rows(Side(donor, receiver.pair.heads()[1], receiver.pair, receiver.access, receiver.seed))
    weight, bias = carry.then_rows(top.tensors["head/weight"], top.tensors["head/bias"])
    return set_rows(receiver.model, receiver.head, receiver.new, weight, bias)
