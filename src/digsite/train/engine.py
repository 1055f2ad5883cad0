"""What an engine is: the same gradients and outputs of K stacked networks, computed in its own way."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from digsite.train.feeds import Batch
from digsite.train.layout import Layout
from digsite.train.losses import Loss

Tensors = Mapping[str, Tensor]


class Engine(Protocol):
    model: nn.Module

    def __init__(self, model: nn.Module, layout: Layout, loss: Loss) -> None: ...

    @staticmethod
    def supports(model: nn.Module) -> bool: ...

    def gradients(self, flat: Tensor, buffers: Tensors, batch: Batch, masks: Tensors, out: Tensor) -> Tensor:
        """Write the gradients of every row of `flat` into `out`; returns the losses (K,)."""
        ...

    def outputs(self, flat: Tensor, buffers: Tensors, x: Tensor, shared: bool) -> Tensor:
        """Outputs (K, B, ...) without dropout."""
        ...
