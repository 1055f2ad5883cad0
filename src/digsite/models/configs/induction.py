"""A small attention-only transformer, the one in which induction heads appear."""

from typing import Literal

from digsite.config import Config, Field
from digsite.models.vocabulary import Count


class InductionConfig(Config):
    kind: Literal["induction"] = "induction"
    vocab: Count = Field(128, description="tokens that exist")
    context: Count = Field(64, description="longest sequence in tokens")
    d_model: Count = Field(16, description="width of the residual stream")
    n_layers: Count = Field(2, description="attention layers")
    n_heads: Count = Field(1, description="heads of each layer")
    norm: bool = Field(True, description="whether a layer norm comes before each attention and the output")
    position: Literal["residual", "keys"] = Field(
        "residual",
        description="learned positions are added to the stream, or only to queries and keys (shortformer)",
    )
