"""Small transformers for algorithmic tasks, in the layout of the ARENA course and TransformerLens."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Count


class ToyTransformerConfig(Config):
    kind: Literal["toy_transformer"] = "toy_transformer"
    vocab: Count = Field(52, description="tokens that exist")
    context: Count = Field(21, description="positions")
    d_model: Count = Field(96, description="width of the residual stream")
    d_head: Count = Field(48, description="width of a head")
    n_heads: Count = Field(2, description="attention heads")
    n_layers: Count = Field(1, description="blocks")
    d_mlp: int = Field(0, ge=0, description="neurons of each block; 0 for attention only")
    n_outputs: Count = Field(52, description="width of the read-out")
    causal: bool = Field(True, description="whether a position sees only earlier ones")
    pad: int | None = Field(None, ge=0, description="a token that is not attended to")
