"""Configs of architectures, without torch, and the words that several of them share."""

from typing import Annotated, Literal

from digsite.config import Field

Activation = Literal["relu", "tanh", "gelu", "gelu_tanh", "sigmoid", "leaky", "silu", "none"]
Rate = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0)]
Image = tuple[Count, Count, Count]  # channels, height, width
