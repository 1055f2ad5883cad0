"""Convolutions with max pooling, then fully connected layers."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.models.activations import ACTIVATIONS
from digsite.models.configs.cnn import CnnConfig


class Cnn(nn.Module):
    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        inputs = [config.image[0], *config.channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, config.kernel, config.stride, config.padding) for i, o in pairwise(inputs)
        )
        widths = [flat_size(config), *config.hidden, config.n_classes]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.conv_dropout = nn.Dropout(config.conv_dropout)
        self.dropouts = nn.ModuleList(nn.Dropout(config.dropout) for _ in config.hidden)
        self.activate = ACTIVATIONS[config.activation]
        self.pool = config.pool

    def features(self, x: Tensor) -> Tensor:
        """What the fully connected part receives, before dropout."""
        for i, conv in enumerate(self.convs):
            x = self.activate(conv(x))
            if self.pool == "each" or (self.pool == "last" and i == len(self.convs) - 1):
                x = F.max_pool2d(x, 2)
        return x.mean((-2, -1)) if self.pool == "mean" else x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_dropout(self.features(x))
        for layer, dropout in zip(self.layers[:-1], self.dropouts):
            x = dropout(self.activate(layer(x)))
        return self.layers[-1](x)


def flat_size(config: CnnConfig) -> int:
    """Width of the input of the first fully connected layer."""
    sides = list(config.image[1:])
    for i in range(len(config.channels)):
        sides = [(side + 2 * config.padding - config.kernel) // config.stride + 1 for side in sides]
        if config.pool == "each" or (config.pool == "last" and i == len(config.channels) - 1):
            sides = [side // 2 for side in sides]
        if min(sides) < 1:
            size = "x".join(map(str, config.image[1:]))
            raise UsageError(
                f"An image of {size} is too small for convolution {i + 1} of {len(config.channels)}.",
                hint="Use fewer convolutions, more padding, or pool=last.",
            )
    return config.channels[-1] * (1 if config.pool == "mean" else sides[0] * sides[1])


def build(config: CnnConfig) -> Cnn:
    return Cnn(config)
