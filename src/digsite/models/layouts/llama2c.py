"""Llamas in the original names, as llama2.c stores them: heads are in the metadata, neighbors are rotated together."""

import re

from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.models.configs.llama import LlamaConfig
from digsite.weights import WeightBundle

TOP = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
IN_LAYER = {
    "attention_norm": "input_layernorm",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}


def matches(bundle: WeightBundle) -> bool:
    return "tok_embeddings.weight" in bundle.tensors


def translate(bundle: WeightBundle) -> tuple[LlamaConfig, dict[str, Tensor]]:
    try:
        n_heads, n_kv_heads, context = (int(bundle.meta[k]) for k in ("n_heads", "n_kv_heads", "max_seq_len"))
    except KeyError as error:
        raise DigsiteError(
            f"This Llama does not say its {error} in its metadata, and no weight shows it."
        ) from None
    state = {_rename(name): tensor for name, tensor in bundle.tensors.items()}
    vocab, width = bundle.shape("tok_embeddings.weight")
    tied = "output.weight" not in bundle.tensors
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    config = LlamaConfig.model_validate(
        {
            "vocab": vocab,
            "context": context,
            "d_model": width,
            "d_mlp": bundle.shape("layers.0.feed_forward.w1.weight")[0],
            "n_layers": sum(name.endswith("ffn_norm.weight") for name in bundle.tensors),
            "n_heads": n_heads,
            "n_kv_heads": n_kv_heads,
            "tied": tied,
            "rope": "pairs",
        }
    )
    return config, state


def _rename(name: str) -> str:
    if name in TOP:
        return TOP[name]
    found = re.fullmatch(r"layers\.(\d+)\.(.+)\.weight", name)
    if not found or found[2] not in IN_LAYER:
        raise DigsiteError(f"This Llama has a tensor '{name}' that is not known.")
    return f"model.layers.{found[1]}.{IN_LAYER[found[2]]}.weight"
