"""A small transformer encoder that classifies images (cut into patches) or texts."""

from typing import Literal

from pydantic import model_validator

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count, Image, Rate


class TransformerConfig(Config):
    kind: Literal["transformer"] = "transformer"
    image: Image = Field(
        (1, 28, 28), description="channels, height, width of the input; unused with a vocabulary"
    )
    patch: Count = Field(7, description="side of an image patch")
    vocab: int = Field(0, ge=0, description="tokens that exist; 0 for images")
    length: int = Field(0, ge=0, description="longest text in tokens; unused for images")
    pad: int | None = Field(
        None, ge=0, description="the token that only fills a text up, and is not attended to"
    )
    d_model: Count = Field(64, description="width of the residual stream")
    n_heads: Count = Field(4, description="attention heads")
    d_mlp: Count = Field(256, description="width of the feed-forward layers")
    n_layers: Count = Field(2, description="blocks")
    norm: Literal["post", "pre"] = Field("post", description="layer norm after or before each sublayer")
    n_classes: Count = Field(10, description="outputs")
    activation: Activation = Field("relu", description="nonlinearity of the feed-forward layers")
    dropout: Rate = Field(0.0, description="dropout rate after each sublayer")

    @model_validator(mode="after")
    def _fits(self) -> "TransformerConfig":
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if self.vocab and not self.length:
            raise ValueError("a text classifier needs length, the longest text in tokens")
        if not self.vocab and (self.image[1] % self.patch or self.image[2] % self.patch):
            raise ValueError(
                f"an image of {self.image[1]}x{self.image[2]} has no whole patches of {self.patch}"
            )
        return self
