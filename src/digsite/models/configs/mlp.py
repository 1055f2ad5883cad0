"""A fully connected network of any widths."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count, Rate


class MlpConfig(Config):
    kind: Literal["mlp"] = "mlp"
    sizes: list[Count] = Field([64, 32, 16, 10], min_length=2, description="widths from input to output")
    activation: Activation = Field("relu", description="nonlinearity after every hidden layer")
    dropout: Rate = Field(0.0, description="dropout rate after hidden layers")
    dropout_layers: int | None = Field(
        None, ge=0, description="how many hidden layers have dropout, from the first; all"
    )
    bias: bool = Field(True, description="whether layers have biases")
