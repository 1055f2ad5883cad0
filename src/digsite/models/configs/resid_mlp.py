"""A residual MLP on sparse features, embedded by fixed random unit rows (Bushnaq et al. 2025)."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count


class ResidMlpConfig(Config):
    kind: Literal["resid_mlp"] = "resid_mlp"
    n_features: Count = Field(100, description="inputs and outputs")
    d_resid: Count = Field(1000, description="width of the residual stream")
    d_mlp: Count = Field(50, description="neurons of each layer")
    n_layers: Count = Field(1, description="residual layers")
    activation: Activation = Field("relu", description="nonlinearity of the neurons")
    bias: bool = Field(False, description="whether the two maps of a layer have biases")
    train_embedding: bool = Field(
        False, description="whether the embedding is trained; fixed unit rows otherwise"
    )
