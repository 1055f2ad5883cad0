"""A convolutional network: convolutions, pooling, fully connected layers."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count, Image, Rate


class CnnConfig(Config):
    kind: Literal["cnn"] = "cnn"
    image: Image = Field((1, 28, 28), description="channels, height, width of the input")
    channels: list[Count] = Field([32, 64], min_length=1, description="output channels of each convolution")
    kernel: Count = Field(3, description="side of the convolution kernels")
    padding: int = Field(1, ge=0, description="zero padding of the convolutions")
    stride: Count = Field(1, description="stride of the convolutions")
    pool: Literal["each", "last", "mean", "none"] = Field(
        "each",
        description="2x2 maximum after each or the last convolution, or the mean over all places at the end",
    )
    hidden: list[Count] = Field([], description="widths of fully connected layers before the output")
    n_classes: Count = Field(10, description="outputs")
    activation: Activation = Field("relu", description="nonlinearity after every layer but the last")
    conv_dropout: Rate = Field(0.0, description="dropout rate after the convolutional part")
    dropout: Rate = Field(0.0, description="dropout rate after each hidden fully connected layer")
