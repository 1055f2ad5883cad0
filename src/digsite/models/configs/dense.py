"""Fully connected networks, on vectors, images, tokens and sparse features. Settings only: nothing here loads torch."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.configs import Activation, Count, Rate


class MlpConfig(Config):
    """A fully connected network of any widths."""

    kind: Literal["mlp"] = "mlp"
    sizes: list[Count] = Field([64, 32, 16, 10], min_length=2, description="widths from input to output")
    activation: Activation = Field("relu", description="nonlinearity after every hidden layer")
    dropout: Rate = Field(0.0, description="dropout rate after hidden layers")
    dropout_layers: int | None = Field(
        None, ge=0, description="how many hidden layers have dropout, from the first; all"
    )
    bias: bool = Field(True, description="whether layers have biases")


class TokenMlpConfig(Config):
    """An MLP on the embeddings of a fixed number of tokens."""

    kind: Literal["token_mlp"] = "token_mlp"
    vocab: Count = Field(128, description="tokens that exist")
    length: Count = Field(32, description="tokens in a text")
    d_embed: Count = Field(16, description="width of a token's embedding")
    hidden: list[Count] = Field([64], min_length=1, description="widths of the hidden layers")
    n_classes: Count = Field(4, description="outputs")
    activation: Activation = Field("relu", description="nonlinearity after every hidden layer")
    dropout: Rate = Field(0.0, description="dropout rate after hidden layers")
    dropout_layers: int | None = Field(None, ge=0, description="how many hidden layers have dropout; all")


class ModularMlpConfig(Config):
    """The MLPs of "The Clock and the Pizza" (Zhong et al. 2023), which add modulo a prime."""

    kind: Literal["modular_mlp"] = "modular_mlp"
    modulus: Count = Field(59, description="p of a + b mod p; tokens and answers")
    d_embed: Count = Field(128, description="width of an embedding")
    d_hidden: Count = Field(256, description="width of the hidden layers")
    d_out: Count = Field(256, description="width of the last hidden layer")
    join: Literal["concatenate", "add"] = Field(
        "concatenate", description="how the two embeddings are joined"
    )
    n_hidden: Literal[1, 2] = Field(1, description="hidden layers")


class ResidMlpConfig(Config):
    """A residual MLP on sparse features, embedded by fixed random unit rows (Bushnaq et al. 2025)."""

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


class TmsConfig(Config):
    """The toy model of superposition (Elhage et al. 2022): many sparse features through a narrow hidden layer."""

    kind: Literal["tms"] = "tms"
    n_features: Count = Field(5, description="inputs and outputs")
    n_hidden: Count = Field(2, description="width of the bottleneck")
    n_hidden_layers: int = Field(0, ge=0, description="square layers between the two maps")
    hidden: Literal["identity", "random"] = Field("identity", description="what the square layers start as")
    train_hidden: bool = Field(False, description="whether the square layers are trained")
    tied: bool = Field(True, description="whether the output map is the transposed input map")
    bias: Literal["zero", "normal"] = Field("zero", description="initial output biases")
