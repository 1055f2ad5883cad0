"""Checkpoints of language models: Hugging Face's, llama2.c's and minGPT's names for what we call by one."""

import re
from typing import Any

from torch import Tensor

from digsite.base.errors import DigsiteError, UsageError
from digsite.models.configs.language import Gpt2Config, LlamaConfig
from digsite.models.layouts import Layout
from digsite.weights import WeightBundle

GPT2_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
GPT2_MASKS = (".attn.bias", ".attn.masked_bias")


class HuggingfaceGpt2(Layout):
    """Hugging Face's GPT2LMHeadModel: our names, its maps transposed."""

    NAME = "huggingface_gpt2"

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        return bundle.meta.get("config", {}).get("model_type") == "gpt2"

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[Gpt2Config, dict[str, Tensor]]:
        state = {
            name: tensor for name, tensor in bundle.state_dict().items() if not name.endswith(GPT2_MASKS)
        }
        if not any(
            name.startswith("transformer.") for name in state
        ):  # a bare GPT2Model, as the published files are
            state = {
                name if name == "lm_head.weight" else f"transformer.{name}": t for name, t in state.items()
            }
        config = read_gpt2_config(bundle.meta["config"])
        return config, transpose_maps(state)


def transpose_maps(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's GPT-2 stores its maps (in, out), as Conv1D; ours are linear layers, (out, in). Its own
    inverse.
    """
    return {n: t.T.contiguous() if n.endswith(TRANSPOSED) else t for n, t in state.items()}


def read_gpt2_config(given: dict[str, Any]) -> Gpt2Config:
    """Settings from a `config.json`; a nonlinearity that we do not have is refused, because another would give
    wrong answers without any sign.
    """
    activation = given.get("activation_function", "gelu_new")
    if activation not in GPT2_ACTIVATIONS:
        accepted = ", ".join(GPT2_ACTIVATIONS)
        message = f"This GPT-2 has activation_function {activation}, which is not supported."
        raise UsageError(message, hint=f"Accepted: {accepted}.")
    return Gpt2Config.model_validate(
        {
            "vocab": given["vocab_size"],
            "context": given.get("n_positions", 1024),
            "d_model": given["n_embd"],
            "d_mlp": given.get("n_inner"),
            "n_layers": given["n_layer"],
            "n_heads": given["n_head"],
            "tied": given.get("tie_word_embeddings", True),
            "activation": GPT2_ACTIVATIONS[activation],
            "norm_eps": given.get("layer_norm_epsilon", 1e-5),
        }
    )


def write_gpt2_config(config: Gpt2Config) -> dict[str, Any]:
    """The content of `config.json`; the weights must be transposed."""
    names = {ours: theirs for theirs, ours in GPT2_ACTIVATIONS.items() if theirs != "gelu_pytorch_tanh"}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab,
        "n_positions": config.context,
        "n_embd": config.d_model,
        "n_inner": config.d_mlp,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "tie_word_embeddings": config.tied,
        "activation_function": names[config.activation],
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": 0.0,
        "torch_dtype": "float32",
    }


class HuggingfaceLlama(Layout):
    """Hugging Face's LlamaForCausalLM: our names are the same."""

    NAME, AS_STORED = "huggingface_llama", True

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        return bundle.meta.get("config", {}).get("model_type") == "llama"

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[LlamaConfig, dict[str, Tensor]]:
        state = bundle.state_dict()
        if not any(name.startswith("model.") for name in state):
            state = {f"model.{name}": tensor for name, tensor in state.items()}  # a bare LlamaModel
        state = {name: tensor for name, tensor in state.items() if not name.endswith("rotary_emb.inv_freq")}
        config = read_llama_config(bundle.meta["config"])
        if "lm_head.weight" not in state:
            config = config.model_copy(update={"tied": True})
        return config, state


def read_llama_config(given: dict[str, Any]) -> LlamaConfig:
    """Settings from a `config.json`. Scaled rotary positions change every attention score, so a model that
    needs them is refused.
    """
    rope = given.get("rope_parameters") or given.get("rope_scaling") or {}
    scaling = rope.get("rope_type", rope.get("type", "default"))
    activation = given.get("hidden_act", "silu")
    if scaling != "default" or activation != "silu":
        refused = f"rope_type {scaling}" if scaling != "default" else f"hidden_act {activation}"
        raise UsageError(
            f"This Llama has {refused}, which is not supported.", hint="Accepted: default, silu."
        )
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


def write_llama_config(config: LlamaConfig) -> dict[str, Any]:
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


def reorder_halves(weight: Tensor, n_heads: int) -> Tensor:
    """Rows of a query or key map for neighboring pairs, reordered for rotated reorder_halves.

    `weight` (heads * size, in) with rows 2 i and 2 i + 1 rotated together becomes one with i and i + size / 2:
    the first of every pair, then the second, within each head.
    """
    return weight.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


LLAMA2C_TOP = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LLAMA2C_LAYER = {
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


class Llama2c(Layout):
    """Llamas in the original names, as llama2.c stores them: heads are in the metadata, neighbors are rotated together."""

    NAME = "llama2c"

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        return "tok_embeddings.weight" in bundle.tensors

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[LlamaConfig, dict[str, Tensor]]:
        try:
            n_heads, n_kv_heads, context = (
                int(bundle.meta[k]) for k in ("n_heads", "n_kv_heads", "max_seq_len")
            )
        except KeyError as error:
            raise DigsiteError(
                f"This Llama does not say its {error} in its metadata, and no weight shows it."
            ) from None
        state = {_rename_llama2c(name): tensor for name, tensor in bundle.tensors.items()}
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


def _rename_llama2c(name: str) -> str:
    """One name of the original files in Hugging Face's words; w1, w2 and w3 are gate, down and up."""
    if name in LLAMA2C_TOP:
        return LLAMA2C_TOP[name]
    match = re.fullmatch(r"layers\.(\d+)\.(.+)\.weight", name)
    if not match or match[2] not in LLAMA2C_LAYER:
        raise DigsiteError(f"This Llama has a tensor '{name}' that is not known.")
    return f"model.layers.{match[1]}.{LLAMA2C_LAYER[match[2]]}.weight"


class Mingpt(Layout):
    """minGPT checkpoints: GPT-2's names, weights (out, in), the sizes in the metadata."""

    NAME = "mingpt"

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        return (
            "transformer.wte.weight" in bundle.tensors
            and "n_head" in bundle.meta
            and "config" not in bundle.meta
        )

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[Gpt2Config, dict[str, Tensor]]:
        vocab, width = bundle.shape("transformer.wte.weight")
        config = Gpt2Config.model_validate(
            {
                "vocab": vocab,
                "context": bundle.shape("transformer.wpe.weight")[0],
                "d_model": width,
                "n_layers": sum(name.endswith("ln_2.weight") for name in bundle.tensors),
                "n_heads": int(bundle.meta["n_head"]),
                "tied": "lm_head.weight" not in bundle.tensors,
            }
        )
        return config, bundle.state_dict()
