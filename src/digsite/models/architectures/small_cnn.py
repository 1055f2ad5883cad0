"""Three 3x3 convolutions of stride 2, the mean over all places, one linear layer."""

from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.models.activations import ACTIVATIONS
from digsite.models.configs.small_cnn import SmallCnnConfig

SMALLEST = 15  # 15, 7, 3, 1: what three unpadded convolutions of stride 2 leave


class LargeEnough(nn.Identity):
    """Refuses images that would shrink to nothing; a module of its own, so that the rest can be traced."""

    def forward(self, input: Tensor) -> Tensor:
        if min(input.shape[-2:]) < SMALLEST:
            size = "x".join(map(str, input.shape[-2:]))
            raise UsageError(
                f"An image of {size} is too small for three convolutions.", hint="Use padding=1."
            )
        return input


class SmallCnn(nn.Module):
    def __init__(self, config: SmallCnnConfig) -> None:
        super().__init__()
        inputs = [config.channels_in, config.width, config.width]
        self.convs = nn.ModuleList(nn.Conv2d(i, config.width, 3, 2, config.padding) for i in inputs)
        self.dropouts = nn.ModuleList(nn.Dropout(config.dropout) for _ in inputs)
        self.check = nn.Identity() if config.padding else LargeEnough()
        self.head = nn.Linear(config.width, config.n_classes)
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = self.check(x)
        for conv, dropout in zip(self.convs, self.dropouts):
            x = dropout(self.activate(conv(x)))
        return self.head(x.mean((-2, -1)))


def build(config: SmallCnnConfig) -> SmallCnn:
    return SmallCnn(config)
