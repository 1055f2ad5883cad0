"""One dictionary of 32 codes for both networks, by its sparsity (framework method 4)."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.code_transport import fitting_images, through_codes
from digsite.graft.operate import weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    sparsity: float = Field(0.02, ge=0, description="penalty on the mean code")
    width: int = Field(32, gt=0, description="codes of the dictionary")
    data: str = Field("au", pattern="^[sau]+$", description="images of the fit, in budget letters")
    n_images: int = Field(3000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    images = fitting_images(receiver, options.data, options.n_images, options.n_widened)
    return through_codes(receiver, message, images, width=options.width, sparsity=options.sparsity)
