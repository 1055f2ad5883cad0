"""The toy model of superposition (Elhage et al. 2022): many sparse features through a narrow hidden layer."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Count


class TmsConfig(Config):
    kind: Literal["tms"] = "tms"
    n_features: Count = Field(5, description="inputs and outputs")
    n_hidden: Count = Field(2, description="width of the bottleneck")
    n_hidden_layers: int = Field(0, ge=0, description="square layers between the two maps")
    hidden: Literal["identity", "random"] = Field("identity", description="what the square layers start as")
    train_hidden: bool = Field(False, description="whether the square layers are trained")
    tied: bool = Field(True, description="whether the output map is the transposed input map")
    bias: Literal["zero", "normal"] = Field("zero", description="initial output biases")
