"""The MLPs of "The Clock and the Pizza" (Zhong et al. 2023), which add modulo a prime."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Count


class ModularMlpConfig(Config):
    kind: Literal["modular_mlp"] = "modular_mlp"
    modulus: Count = Field(59, description="p of a + b mod p; tokens and answers")
    d_embed: Count = Field(128, description="width of an embedding")
    d_hidden: Count = Field(256, description="width of the hidden layers")
    d_out: Count = Field(256, description="width of the last hidden layer")
    join: Literal["concatenate", "add"] = Field(
        "concatenate", description="how the two embeddings are joined"
    )
    n_hidden: Literal[1, 2] = Field(1, description="hidden layers")
