"""ReLU(W2 H W1 x + b), with W2 the transpose of W1 where they are tied."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.configs.tms import TmsConfig


class TransposedLinear(nn.Module):
    """A linear layer that uses another one's weight transposed and owns only its bias."""

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        self._source = [source]  # in a list, so that the weight is not registered twice
        self.bias = nn.Parameter(torch.zeros(source.in_features))

    @property
    def weight(self) -> Tensor:
        return self._source[0].weight.T

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Tms(nn.Module):
    def __init__(self, config: TmsConfig) -> None:
        super().__init__()
        self.config = config
        self.linear1 = nn.Linear(config.n_features, config.n_hidden, bias=False)
        self.hidden_layers = nn.ModuleList(
            nn.Linear(config.n_hidden, config.n_hidden, bias=False) for _ in range(config.n_hidden_layers)
        )
        self.hidden_layers.requires_grad_(config.train_hidden)
        untied = nn.Linear(config.n_hidden, config.n_features)
        self.linear2 = TransposedLinear(self.linear1) if config.tied else untied
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_normal_(self.linear1.weight)
        if isinstance(self.linear2, nn.Linear):
            nn.init.xavier_normal_(self.linear2.weight)
        (nn.init.zeros_ if self.config.bias == "zero" else nn.init.normal_)(self.linear2.bias)
        for layer in self.hidden_layers:
            assert isinstance(layer, nn.Linear)
            (nn.init.eye_ if self.config.hidden == "identity" else nn.init.xavier_normal_)(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear1(x)
        for layer in self.hidden_layers:
            x = layer(x)
        return F.relu(self.linear2(x))

    def untied(self) -> "Tms":
        """The same function with two separate matrices, as a decomposition of each of them needs."""
        copy = Tms(self.config.model_copy(update={"tied": False}))
        with torch.no_grad():
            copy.linear1.weight.copy_(self.linear1.weight)
            assert isinstance(copy.linear2, nn.Linear)
            copy.linear2.weight.copy_(self.linear2.weight)
            copy.linear2.bias.copy_(self.linear2.bias)
            for mine, its in zip(self.hidden_layers.parameters(), copy.hidden_layers.parameters()):
                its.copy_(mine)
        return copy


def build(config: TmsConfig) -> Tms:
    return Tms(config)
