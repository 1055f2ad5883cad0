"""One dictionary for both networks, by its size (framework method 3)."""

from torch import nn

from digsite.config import Field
from digsite.graft.core.code_transport import through_codes
from digsite.graft.core.fitting import Fitting, budget, fitting_images, message
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    width: int = Field(32, gt=0, description="codes of the dictionary")
    sparsity: float = Field(0.05, ge=0, description="penalty on the mean code")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images = fitting_images(options, receiver)
    return through_codes(receiver, sent, images, width=options.width, sparsity=options.sparsity)
