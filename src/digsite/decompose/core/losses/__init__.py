"""Training losses: each is one term of the total, with its own coefficient; a class per kind, found by its base.

Files of this folder load without torch: settings are read before anything is computed.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Loss(Config):
    """The settings of one loss, which compute it: add a class with another `kind` to a file of this folder."""

    ATTACKS: ClassVar[bool] = False
    """Takes gradients of its own inside of the loss: it cannot be recomputed, nor its memory watched."""
    ONE_MODULE: ClassVar[bool] = False
    """Is about a single decomposed module."""

    kind: Any
    coeff: float = Field(default=1.0, ge=0, description="coefficient in the total loss")

    @abstractmethod
    def list_noise(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Shapes of the uniform numbers that a step needs, by a name of the loss's own; `layout` is the batch's."""

    def list_sources(self, counts: dict[str, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of adversarial sources that are kept from step to step, by site.

        `counts` has the components of each site, and one more where the residual counts. What is kept climbs the
        gradient that the components descend, at the rate `source_lr` of the loss.
        """
        return {}

    @abstractmethod
    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """The term of one member, a scalar; `noise` has the numbers of `list_noise`, and `source/SITE` what is kept."""


Member = Loss
