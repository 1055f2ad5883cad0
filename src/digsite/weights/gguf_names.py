"""GGUF's names and row orders as Hugging Face has them, for the architectures that both write in the same way."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from digsite.weights.bundle import Stored

LLAMAS = ("llama",)
TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
IN_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
DROPPED = ("rope_freqs.weight",)  # tables that follow from the config


def as_hugging_face(
    stored: dict[str, Stored], meta: dict[str, Any]
) -> tuple[dict[str, Stored], dict[str, Any] | None]:
    """Renamed tensors and a config, or the tensors as they are and None where a name or the architecture is not known."""
    if meta.get("general.architecture") not in LLAMAS:
        return stored, None
    names = {name: _renamed(name) for name in stored if name not in DROPPED}
    config = _config(stored, meta)
    if config is None or not all(names.values()):
        return stored, None
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    found = {}
    for name, new in names.items():
        n_heads = heads.get(new.split(".")[-2], 0) if new.endswith(".weight") else 0
        one = stored[name]
        found[new] = Stored(one.shape, one.dtype, partial(_halves, one.load, n_heads)) if n_heads else one
    return found, config


def _renamed(name: str) -> str:
    if name in TOP:
        return TOP[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    return (
        f"model.layers.{match[1]}.{IN_LAYER[match[2]]}.{match[3]}" if match and match[2] in IN_LAYER else ""
    )


def _halves(load: Callable[[], Tensor], n_heads: int) -> Tensor:
    """llama.cpp rotates neighboring rows of a head, Hugging Face its two halves."""
    return load().unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _config(stored: dict[str, Stored], meta: dict[str, Any]) -> dict[str, Any] | None:
    kind = meta["general.architecture"]

    def get(key: str, default: Any = None) -> Any:
        return meta.get(f"{kind}.{key}", default)

    sizes = ("embedding_length", "feed_forward_length", "block_count", "attention.head_count")
    if any(get(key) is None for key in sizes) or "token_embd.weight" not in stored:
        return None
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": stored["token_embd.weight"].shape[0],
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": get("attention.head_count"),
        "num_key_value_heads": get("attention.head_count_kv", get("attention.head_count")),
        "max_position_embeddings": get("context_length", 2048),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon", 1e-5),
        "rope_theta": get("rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in stored,
    }
