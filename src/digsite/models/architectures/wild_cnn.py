"""Convolutions that differ from layer to layer, with 1x1 skips from earlier ones and a mean over places."""

from math import prod

from torch import Tensor, nn

from digsite.models.activations import ACTIVATIONS
from digsite.models.configs.wild_cnn import WildCnnConfig


class WildCnn(nn.Module):
    def __init__(self, config: WildCnnConfig) -> None:
        super().__init__()
        self.config = config
        inputs = [config.channels_in, *config.channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs[i], inputs[i + 1], kernel, stride, kernel // 2)
            for i, (kernel, stride) in enumerate(zip(config.kernels, config.strides))
        )
        self.skips = nn.ModuleDict(
            {str(i): self._skip(i, j) for i, j in enumerate(config.skips) if j is not None}
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.channels[-1], config.n_classes)

    def _skip(self, to: int, source: int) -> nn.Conv2d:
        """A 1x1 convolution whose stride makes up for the convolutions that it passes by."""
        stride = prod(self.config.strides[source + 1 : to + 1])
        return nn.Conv2d(self.config.channels[source], self.config.channels[to], 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for i, (conv, activation) in enumerate(zip(self.convs, self.config.activations)):
            x = ACTIVATIONS[activation](conv(x))
            source = self.config.skips[i]
            if source is not None:
                x = x + self.skips[str(i)](outputs[source])
            outputs.append(x)
        return self.head(self.dropout(x.mean((-2, -1))))


def build(config: WildCnnConfig) -> WildCnn:
    return WildCnn(config)
