"""The transformers of "The Clock and the Pizza" (Zhong et al. 2023), which add modulo a prime."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Count


class ModularTransformerConfig(Config):
    kind: Literal["modular_transformer"] = "modular_transformer"
    modulus: Count = Field(59, description="p of a + b mod p; the number of answers")
    vocab: Count = Field(59, description="tokens that exist: p, or 2p where the second number has its own")
    d_model: Count = Field(128, description="width of the residual stream")
    d_mlp: Count = Field(512, description="neurons of each layer")
    n_heads: Count = Field(4, description="attention heads")
    n_layers: Count = Field(1, description="blocks")
    attention: float = Field(
        1.0, ge=0, le=1, description="share of attention in the pattern; the rest is uniform"
    )
