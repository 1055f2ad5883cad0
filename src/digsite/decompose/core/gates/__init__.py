"""Causal-importance functions (gates): from what a module reads to one logit per component; a class per kind.

Files of this folder load without torch: settings are read before anything is computed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from digsite.config import Config

if TYPE_CHECKING:
    from torch import Tensor

Draw = Callable[..., "Tensor"]  # draw(name, *shape): standard normal numbers from a named stream


@dataclass(frozen=True)
class Shape:
    """One site: its matrix is (d_in, d_out) and it has n components."""

    d_in: int
    d_out: int
    n: int


Shapes = dict[str, Shape]


class Gate(Config):
    """The settings of one kind of gate, which compute it: add a class with another `kind` to a file of this folder."""

    NEEDS_INPUTS: ClassVar[bool] = False
    """Reads the module's whole input, not each component's inner activation alone."""
    ALL_AT_ONCE: ClassVar[bool] = False
    """One function of all modules, so that nothing can be recomputed module by module."""
    ASKS_FOR_SIZES: ClassVar[bool] = False
    """Starts from how large the activations are: `calibrate` is called before training."""

    kind: Any

    @abstractmethod
    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """First parameters of one member by name, those of a site under `SITE/`."""

    @abstractmethod
    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """(..., C) by site, from inner activations `inner` (..., C) and module inputs `inputs` (..., d_in)."""

    def calibrate(self, params: dict[str, Tensor], sizes: dict[str, Tensor]) -> None:
        """Fit fresh parameters to the data, in place.

        `sizes` (2, C) by site: the root mean square of each part's activation, and of what it adds to the output.
        """


Member = Gate
