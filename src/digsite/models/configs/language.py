"""Language models in the shapes of GPT-2 and Llama. Settings only: nothing here loads torch."""

from typing import Literal

from pydantic import model_validator

from digsite.config import Config, Field
from digsite.models.configs import Activation, Count, Rate


class Gpt2Config(Config):
    """A GPT-2-style language model: layer norms, learned positions, GELU."""

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
    def _check_sizes(self) -> "Gpt2Config":
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        return self


class LlamaConfig(Config):
    """A Llama-style language model: RMS norms, rotary positions, grouped queries, gated feed-forward layers."""

    kind: Literal["llama"] = "llama"
    vocab: Count = Field(512, description="tokens that exist")
    context: Count = Field(256, description="longest sequence in tokens")
    d_model: Count = Field(64, description="width of the residual stream")
    d_mlp: Count = Field(172, description="width of the feed-forward layers")
    n_layers: Count = Field(4, description="blocks")
    n_heads: Count = Field(4, description="query heads")
    n_kv_heads: Count = Field(
        4, description="key and value heads, each shared by n_heads / n_kv_heads queries"
    )
    d_head: int | None = Field(None, gt=0, description="width of a head; d_model / n_heads if none")
    tied: bool = Field(True, description="whether the output map is the embedding")
    attention_bias: bool = Field(False, description="whether the attention maps have biases")
    mlp_bias: bool = Field(False, description="whether the feed-forward maps have biases")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of the RMS norms")
    rope_theta: float = Field(10000.0, gt=0, description="base of the rotary angles")
    rope: Literal["halves", "pairs"] = Field(
        "halves",
        description="rotated together: i and i + d_head/2 (Hugging Face), or neighbors (original files)",
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "LlamaConfig":
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if self.head_size % 2:
            raise ValueError(f"the head size {self.head_size} is odd, so it cannot be rotated in pairs")
        return self

    @property
    def head_size(self) -> int:
        """Width of one head. A checkpoint may set it apart from d_model / n_heads: then attention is wider or
        narrower than the stream.
        """
        return self.d_head or self.d_model // self.n_heads
