"""Checkpoints in TransformerLens's names and shapes, as the ARENA course's toy transformers have them."""

from torch import Tensor

from digsite.models.configs.toy_transformer import ToyTransformerConfig
from digsite.weights import WeightBundle

# Which way attention looks, and what is padding, is not in the weights; these files are known by their shapes.
BRACKETS = {"vocab": 5, "context": 42, "n_outputs": 2}


def matches(bundle: WeightBundle) -> bool:
    return {"embed.W_E", "blocks.0.attn.b_Q", "unembed.b_U"} <= set(bundle.tensors)


def translate(bundle: WeightBundle) -> tuple[ToyTransformerConfig, dict[str, Tensor]]:
    vocab, width = bundle.shape("embed.W_E")
    n_heads, _, size = bundle.shape("blocks.0.attn.W_Q")
    has_mlp = "blocks.0.mlp.W_in" in bundle.tensors
    config = ToyTransformerConfig.model_validate(
        {
            "vocab": vocab,
            "context": bundle.shape("pos_embed.W_pos")[0],
            "d_model": width,
            "d_head": size,
            "n_heads": n_heads,
            "n_layers": sum(name.endswith("attn.W_Q") for name in bundle.tensors),
            "d_mlp": bundle.shape("blocks.0.mlp.W_in")[1] if has_mlp else 0,
            "n_outputs": bundle.shape("unembed.W_U")[1],
        }
    )
    if all(getattr(config, key) == value for key, value in BRACKETS.items()):
        config = config.model_copy(update={"causal": False, "pad": 1})
    return config, bundle.state_dict()
