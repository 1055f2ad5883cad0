"""What a training with a known answer is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from digsite.track.core.capture import Kind
from digsite.track.core.probe import Probe
from digsite.train import Ensemble, Member

Behavior = Callable[[Ensemble], Tensor]


@dataclass(frozen=True)
class Setup:
    """`behavior` gives (members, channels) that rise from 0 to 1; none for a null. `truth` are known times in steps."""

    model: nn.Module
    data: Any
    members: list[Member]
    probe: Probe
    loss: Any = "cross_entropy"
    kinds: frozenset[Kind] = frozenset({"linear", "conv", "attention", "residual", "embedding"})
    channels: tuple[str, ...] = ()
    behavior: Behavior | None = None
    truth: dict[str, float] = field(default_factory=dict)
    start: Tensor | None = None


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
