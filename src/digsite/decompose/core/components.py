"""The rank-one parts of one module, and what the functions that look at them ask of a decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.scene import Plan, Scene

ALIVE_SHARE = 0.05  # a component is alive when its norm is above this share of the largest one's


@dataclass(frozen=True)
class Components:
    """The rank-one parts of one module: its matrix (d_in, d_out) is V U plus the residual."""

    V: Tensor
    U: Tensor
    weight: Tensor

    @property
    def residual(self) -> Tensor:
        return self.weight - self.V @ self.U

    @property
    def norms(self) -> Tensor:
        return self.V.norm(dim=0) * self.U.norm(dim=1)

    def matrix(self, c: int) -> Tensor:
        return torch.outer(self.V[:, c], self.U[c])


class Decomposed(Protocol):
    """What is read of a decomposition by functions that its own methods call, so that no file imports in a circle."""

    plan: Plan
    params: dict[str, Tensor]
    config: DecomposeConfig
    origin: dict[str, Any]

    @property
    def modules(self) -> list[str]: ...

    @property
    def model(self) -> nn.Module: ...

    def components(self, module: str) -> Components: ...

    def scene(self, batch: Any) -> Scene: ...
