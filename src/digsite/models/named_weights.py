"""A module that is only a bag of named weights, for checkpoints whose maps are not layers."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn


class NamedWeights(nn.Module):
    """Names that start with `b_` are biases; the others are drawn with variance 1 / size of their fan-in axis."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...

    def __init__(self, fan_in: int = -1, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self._fan_in = fan_in
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def reset_parameters(self) -> None:
        for name, parameter in self.named_parameters(recurse=False):
            if name.startswith("b_"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[self._fan_in]))
