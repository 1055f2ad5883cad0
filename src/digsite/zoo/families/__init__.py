"""Kinds of networks a zoo can hold.

A family decides the shape of each network from the member's own stream; how it is trained is drawn elsewhere,
the same for all families, so that zoos of two families differ in their shapes alone.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class NetworkKind(ABC):
    """One kind; members of a zoo differ in what it draws."""

    @staticmethod
    @abstractmethod
    def draw_config(
        rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
    ) -> dict[str, Any]:
        """The model config of one member, as plain data.

        `rng` is the member's own stream, `activation` the nonlinearity that was drawn for it, `image` its input's channels,
        height and width.
        """
        ...


Member = NetworkKind
