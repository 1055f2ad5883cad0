"""Hugging Face's LlamaForCausalLM: our names are the same."""

from typing import Any

from torch import Tensor

from digsite.base.errors import UsageError
from digsite.models.configs.llama import LlamaConfig
from digsite.weights import WeightBundle


def matches(bundle: WeightBundle) -> bool:
    return bundle.meta.get("config", {}).get("model_type") == "llama"


def translate(bundle: WeightBundle) -> tuple[LlamaConfig, dict[str, Tensor]]:
    state = bundle.state_dict()
    if not any(name.startswith("model.") for name in state):
        state = {f"model.{name}": tensor for name, tensor in state.items()}  # a bare LlamaModel
    state = {name: tensor for name, tensor in state.items() if not name.endswith("rotary_emb.inv_freq")}
    config = from_huggingface(bundle.meta["config"])
    if "lm_head.weight" not in state:
        config = config.model_copy(update={"tied": True})
    return config, state


def from_huggingface(given: dict[str, Any]) -> LlamaConfig:
    rope = given.get("rope_parameters") or given.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    activation = given.get("hidden_act", "silu")
    if kind != "default" or activation != "silu":
        found = f"rope_type {kind}" if kind != "default" else f"hidden_act {activation}"
        raise UsageError(f"This Llama has {found}, which is not supported.", hint="Accepted: default, silu.")
    return LlamaConfig.model_validate(
        {
            "vocab": given["vocab_size"],
            "context": given.get("max_position_embeddings", 2048),
            "d_model": given["hidden_size"],
            "d_mlp": given["intermediate_size"],
            "n_layers": given["num_hidden_layers"],
            "n_heads": given["num_attention_heads"],
            "n_kv_heads": given.get("num_key_value_heads") or given["num_attention_heads"],
            "d_head": given.get("head_dim"),
            "tied": given.get("tie_word_embeddings", False),
            "attention_bias": given.get("attention_bias", False),
            "mlp_bias": given.get("mlp_bias", False),
            "norm_eps": given.get("rms_norm_eps", 1e-6),
            "rope_theta": rope.get("rope_theta", given.get("rope_theta", 10000.0)),
        }
    )


def to_huggingface(config: LlamaConfig) -> dict[str, Any]:
    """The content of `config.json`; the weights must be in the "halves" order."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocab,
        "max_position_embeddings": config.context,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_mlp,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_size,
        "tie_word_embeddings": config.tied,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "torch_dtype": "float32",
    }


def halves(weight: Tensor, n_heads: int) -> Tensor:
    """Rows of a query or key map for neighboring pairs, reordered for rotated halves."""
    return weight.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)
