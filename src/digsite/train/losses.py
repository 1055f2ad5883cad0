"""Losses of one network; a user's own is any function (outputs, targets) -> scalar."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from digsite.base.errors import UsageError, name_nearest

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets)


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, targets)


def next_token(outputs: Tensor, tokens: Tensor) -> Tensor:
    """Mean loss of predicting tokens 1.. from the logits (B, T, V) at 0..; `tokens` is the input itself."""
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse, "next_token": next_token}


def resolve(loss: str | Loss) -> Loss:
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise UsageError(f"unknown loss '{loss}'. {name_nearest(loss, LOSSES)}")
    return LOSSES[loss]
