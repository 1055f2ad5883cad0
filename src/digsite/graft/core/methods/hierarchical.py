"""A nested dictionary: each prefix of the codes must do alone (framework method 5)."""

from torch import nn

from digsite.config import Field
from digsite.graft.core.code_transport import through_codes
from digsite.graft.core.fitting import Fitting, budget, fitting_images, message
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    levels: str = Field("48,24", pattern=r"^\d+(,\d+)*$", description="codes of each level, widest first")
    sparsity: float = Field(0.02, ge=0, description="penalty on the mean code")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images = fitting_images(options, receiver)
    levels = tuple(sorted(map(int, options.levels.split(","))))
    return through_codes(
        receiver, sent, images, width=levels[-1], sparsity=options.sparsity, levels=levels[:-1]
    )
