"""A gated recurrent network that classifies sequences: image rows, vectors, or tokens."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Count, Rate


class GruConfig(Config):
    kind: Literal["gru"] = "gru"
    n_inputs: Count = Field(
        28, description="width of one step: the pixels of an image row, or of a token's embedding"
    )
    vocab: int = Field(0, ge=0, description="tokens that exist; 0 for images and vectors")
    n_hidden: Count = Field(64, description="width of the state")
    n_classes: Count = Field(10, description="outputs")
    dropout: Rate = Field(0.0, description="dropout rate on the last state")
