"""The network of the Small CNN Zoo (Unterthiner et al. 2020): 4,970 parameters at one input channel."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count, Rate


class SmallCnnConfig(Config):
    kind: Literal["small_cnn"] = "small_cnn"
    channels_in: Count = Field(1, description="channels of the image")
    width: Count = Field(16, description="channels of each of the three convolutions")
    padding: int = Field(0, ge=0, description="zero padding; 0 as published, 1 for images below 15 pixels")
    n_classes: Count = Field(10, description="outputs")
    activation: Activation = Field("relu", description="nonlinearity after each convolution")
    dropout: Rate = Field(0.0, description="dropout rate after each convolution")
