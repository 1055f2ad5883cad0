"""Kinds of networks a zoo can hold."""

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
