"""Convolutional networks that classify images."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.models.architectures import Architecture
from digsite.models.configs.convolutional import CnnConfig, SmallCnnConfig, WildCnnConfig
from digsite.models.parts import ACTIVATIONS


class Cnn(nn.Module, Architecture):
    """Convolutions with max pooling, then fully connected layers."""

    NAME = "cnn"

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        inputs = [config.image[0], *config.channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, config.kernel, config.stride, config.padding) for i, o in pairwise(inputs)
        )
        widths = [count_features(config), *config.hidden, config.n_classes]
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
        """Logits (n, n_classes) of images (n, channels, height, width)."""
        x = self.conv_dropout(self.features(x))
        for layer, dropout in zip(self.layers[:-1], self.dropouts):
            x = dropout(self.activate(layer(x)))
        return self.layers[-1](x)


def count_features(config: CnnConfig) -> int:
    """Width of the input of the first fully connected layer.

    The sides follow the formula of a convolution, floor((side + 2 padding - kernel) / stride) + 1, and a
    pooling halves them. It is computed here, and not found by running an empty image, so that a config that
    cannot work is refused in one sentence.
    """
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


SMALLEST_SIDE = 15  # 15, 7, 3, 1: what three unpadded convolutions of stride 2 leave


class LargeEnough(nn.Identity):
    """Refuses images that would shrink to nothing; a module of its own, so that the rest can be traced."""

    def forward(self, input: Tensor) -> Tensor:
        if min(input.shape[-2:]) < SMALLEST_SIDE:
            size = "x".join(map(str, input.shape[-2:]))
            raise UsageError(
                f"An image of {size} is too small for three convolutions.", hint="Use padding=1."
            )
        return input


class SmallCnn(nn.Module, Architecture):
    """Three 3x3 convolutions of stride 2, the mean over all places, one linear layer."""

    NAME = "small_cnn"

    def __init__(self, config: SmallCnnConfig) -> None:
        super().__init__()
        inputs = [config.channels_in, config.width, config.width]
        self.convs = nn.ModuleList(nn.Conv2d(i, config.width, 3, 2, config.padding) for i in inputs)
        self.dropouts = nn.ModuleList(nn.Dropout(config.dropout) for _ in inputs)
        self.check = nn.Identity() if config.padding else LargeEnough()
        self.head = nn.Linear(config.width, config.n_classes)
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width) of any size that three convolutions
        survive.
        """
        x = self.check(x)
        for conv, dropout in zip(self.convs, self.dropouts):
            x = dropout(self.activate(conv(x)))
        return self.head(x.mean((-2, -1)))


class WildCnn(nn.Module, Architecture):
    """Convolutions that differ from layer to layer, with 1x1 skips from earlier ones and a mean over places."""

    NAME = "wild_cnn"

    def __init__(self, config: WildCnnConfig) -> None:
        super().__init__()
        self.config = config
        inputs = [config.channels_in, *config.channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs[i], inputs[i + 1], kernel, stride, kernel // 2)
            for i, (kernel, stride) in enumerate(zip(config.kernels, config.strides))
        )
        self.skips = nn.ModuleDict(
            {str(i): self._make_skip(i, j) for i, j in enumerate(config.skips) if j is not None}
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.channels[-1], config.n_classes)

    def _make_skip(self, to: int, source: int) -> nn.Conv2d:
        """A 1x1 convolution whose stride makes up for the convolutions that it passes by."""
        stride = prod(self.config.strides[source + 1 : to + 1])
        return nn.Conv2d(self.config.channels[source], self.config.channels[to], 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width). Each output is kept, since a later
        layer may skip back to any of them; a skip is added after the activation, as in the zoo.
        """
        outputs: list[Tensor] = []
        for i, (conv, activation) in enumerate(zip(self.convs, self.config.activations)):
            x = ACTIVATIONS[activation](conv(x))
            source = self.config.skips[i]
            if source is not None:
                x = x + self.skips[str(i)](outputs[source])
            outputs.append(x)
        return self.head(self.dropout(x.mean((-2, -1))))
