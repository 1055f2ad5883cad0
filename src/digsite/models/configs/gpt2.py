"""A GPT-2-style language model: layer norms, learned positions, GELU."""

from typing import Literal

from pydantic import model_validator

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count, Rate


class Gpt2Config(Config):
    kind: Literal["gpt2"] = "gpt2"
    vocab: Count = Field(512, description="tokens that exist")
    context: Count = Field(256, description="longest sequence in tokens")
    d_model: Count = Field(64, description="width of the residual stream")
    d_mlp: int | None = Field(None, gt=0, description="width of the feed-forward layers; 4 d_model if none")
    n_layers: Count = Field(4, description="blocks")
    n_heads: Count = Field(4, description="attention heads")
    tied: bool = Field(True, description="whether the output map is the embedding")
    activation: Activation = Field("gelu_tanh", description="nonlinearity of the feed-forward layers")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of the layer norms")
    dropout: Rate = Field(0.0, description="dropout rate after the embedding and each sublayer")

    @model_validator(mode="after")
    def _fits(self) -> "Gpt2Config":
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        return self
