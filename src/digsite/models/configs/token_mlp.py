"""An MLP on the embeddings of a fixed number of tokens."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count, Rate


class TokenMlpConfig(Config):
    kind: Literal["token_mlp"] = "token_mlp"
    vocab: Count = Field(128, description="tokens that exist")
    length: Count = Field(32, description="tokens in a text")
    d_embed: Count = Field(16, description="width of a token's embedding")
    hidden: list[Count] = Field([64], min_length=1, description="widths of the hidden layers")
    n_classes: Count = Field(4, description="outputs")
    activation: Activation = Field("relu", description="nonlinearity after every hidden layer")
    dropout: Rate = Field(0.0, description="dropout rate after hidden layers")
    dropout_layers: int | None = Field(None, ge=0, description="how many hidden layers have dropout; all")
