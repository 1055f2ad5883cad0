"""Small attention and recurrent networks: classifiers, and those of algorithmic tasks. Settings only: nothing here loads torch."""

from typing import Literal

from pydantic import model_validator

from digsite.config import Config, Field
from digsite.models.configs import Activation, Count, Image, Rate


class TransformerConfig(Config):
    """A small transformer encoder that classifies images (cut into patches) or texts."""

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
    def _check_sizes(self) -> "TransformerConfig":
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if self.vocab and not self.length:
            raise ValueError("a text classifier needs length, the longest text in tokens")
        if not self.vocab and (self.image[1] % self.patch or self.image[2] % self.patch):
            raise ValueError(
                f"an image of {self.image[1]}x{self.image[2]} has no whole patches of {self.patch}"
            )
        return self


class GruConfig(Config):
    """A gated recurrent network that classifies sequences: image rows, vectors, or tokens."""

    kind: Literal["gru"] = "gru"
    n_inputs: Count = Field(
        28, description="width of one step: the pixels of an image row, or of a token's embedding"
    )
    vocab: int = Field(0, ge=0, description="tokens that exist; 0 for images and vectors")
    n_hidden: Count = Field(64, description="width of the state")
    n_classes: Count = Field(10, description="outputs")
    dropout: Rate = Field(0.0, description="dropout rate on the last state")


class InductionConfig(Config):
    """A small attention-only transformer, the one in which induction heads appear."""

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


class ToyTransformerConfig(Config):
    """Small transformers for algorithmic tasks, in the layout of the ARENA course and TransformerLens."""

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


class ModularTransformerConfig(Config):
    """The transformers of "The Clock and the Pizza" (Zhong et al. 2023), which add modulo a prime."""

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
