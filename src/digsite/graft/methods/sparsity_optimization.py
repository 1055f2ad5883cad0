"""One dictionary of 32 codes for both networks, by its sparsity (framework method 4)."""

from torch import nn

from digsite.config import Field
from digsite.graft.code_transport import Fitting, budget, fitting_images, message, through_codes
from digsite.graft.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    sparsity: float = Field(0.02, ge=0, description="penalty on the mean code")
    width: int = Field(32, gt=0, description="codes of the dictionary")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images = fitting_images(receiver, options.data, options.n_images, options.n_widened)
    return through_codes(receiver, sent, images, width=options.width, sparsity=options.sparsity)
