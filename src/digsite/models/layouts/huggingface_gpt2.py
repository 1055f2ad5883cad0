"""Hugging Face's GPT2LMHeadModel: our names, its maps transposed."""

from typing import Any

from torch import Tensor

from digsite.base.errors import UsageError
from digsite.models.configs.gpt2 import Gpt2Config
from digsite.weights import WeightBundle

ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
MASKS = (".attn.bias", ".attn.masked_bias")


def matches(bundle: WeightBundle) -> bool:
    return bundle.meta.get("config", {}).get("model_type") == "gpt2"


def translate(bundle: WeightBundle) -> tuple[Gpt2Config, dict[str, Tensor]]:
    state = {name: tensor for name, tensor in bundle.state_dict().items() if not name.endswith(MASKS)}
    if not any(
        name.startswith("transformer.") for name in state
    ):  # a bare GPT2Model, as the published files are
        state = {name if name == "lm_head.weight" else f"transformer.{name}": t for name, t in state.items()}
    config = from_huggingface(bundle.meta["config"])
    return config, transpose(state)


def transpose(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: t.T.contiguous() if n.endswith(TRANSPOSED) else t for n, t in state.items()}


def from_huggingface(given: dict[str, Any]) -> Gpt2Config:
    activation = given.get("activation_function", "gelu_new")
    if activation not in ACTIVATIONS:
        accepted = ", ".join(ACTIVATIONS)
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
            "activation": ACTIVATIONS[activation],
            "norm_eps": given.get("layer_norm_epsilon", 1e-5),
        }
    )


def to_huggingface(config: Gpt2Config) -> dict[str, Any]:
    """The content of `config.json`; the weights must be transposed."""
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items() if theirs != "gelu_pytorch_tanh"}
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
