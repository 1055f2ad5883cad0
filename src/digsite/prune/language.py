"""A language model by reference, with its tokenizer: our own, llama2.c's, or any Hugging Face folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.base.lazy import require
from digsite.data.fetch import find
from digsite.data.tokenizers import Tokenizer, load_tokenizer
from digsite.models import empty, parse
from digsite.weights import WeightBundle, read_weights


@dataclass(frozen=True)
class Language:
    """`tokenizer` is None for a model of the generated stories, whose tokens need no text."""

    model: nn.Module
    tokenizer: Tokenizer | None
    context: int
    folder: Path | None = None


# llama2.c's names of the maps of a layer, and ours, which are Hugging Face's
NAMES = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def load_language(reference: str) -> Language:
    bundle = read_weights(located(reference))
    if own := bundle.meta.get("digsite.model"):
        return _own(bundle, own)
    folder = Path(str(bundle.meta.get("path", "")))
    if "tok_embeddings.weight" in bundle.tensors:
        return _llama2c(bundle, folder)
    if "model_type" in bundle.meta.get("config", {}):
        return hugging_face(folder)
    raise UsageError(
        f"'{reference}' is not a language model that can be run: it has no config.",
        hint="Name a Hugging Face folder, a llama2.c model, or a run that stored its model.",
    )


def located(reference: str) -> str:
    """The name of a trained model in the data folder, or a folder without a config, as the file that is meant."""
    if named := find(f"lm/{reference}", "model.safetensors"):
        return str(named)
    path = Path(reference.removeprefix("file:"))
    bare = path.is_dir() and not (path / "config.json").is_file() and (path / "model.safetensors").is_file()
    return str(path / "model.safetensors") if bare else reference


def _own(bundle: WeightBundle, config: dict[str, Any]) -> Language:
    parsed = parse(config)
    model = empty(parsed)
    model.load_state_dict(bundle.state_dict())
    return Language(model, None, int(getattr(parsed, "context", 256)))


def _llama2c(bundle: WeightBundle, folder: Path) -> Language:
    tensors = {_renamed(name): tensor.clone() for name, tensor in bundle.state_dict().items()}
    head = {} if "lm_head.weight" in tensors else {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    heads, shared = _heads(bundle)
    vocab, d_model = tensors["model.embed_tokens.weight"].shape
    context = int(bundle.meta.get("max_seq_len", 256))
    config = {
        "kind": "llama", "vocab": vocab, "d_model": d_model, "context": context,
        "d_mlp": len(tensors["model.layers.0.mlp.up_proj.weight"]),
        "n_layers": 1 + max(int(n.split(".")[2]) for n in tensors if n.startswith("model.layers.")),
        "n_heads": heads, "n_kv_heads": shared, "tied": bool(head), "rope": "pairs",
    }  # fmt: skip
    model = empty(parse(config))
    model.load_state_dict(tensors | head)
    return Language(model, _tokenizer_beside(folder), context, folder)


def _renamed(name: str) -> str:
    if name == "output.weight":
        return "lm_head.weight"
    for old, new in NAMES.items():
        name = name.replace(f"{old}.weight", f"{new}.weight")
    name = name.replace("tok_embeddings", "embed_tokens")
    return name if name.startswith("lm_head") else f"model.{name}"


def _heads(bundle: WeightBundle) -> tuple[int, int]:
    try:
        return int(bundle.meta["n_heads"]), int(bundle.meta["n_kv_heads"])
    except KeyError:
        raise UsageError(
            "The weights do not say how many heads the model has (n_heads, n_kv_heads)."
        ) from None


def _tokenizer_beside(path: Path) -> Tokenizer | None:
    folder = path if path.is_dir() else path.parent
    found = [p for p in sorted(folder.glob("tok*")) if p.suffix in (".bin", ".model", ".vocab")]
    preferred = [p for p in found if p.suffix == ".vocab"] or found
    return load_tokenizer(preferred[0]) if preferred else None


def hugging_face(folder: Path, load: Callable[[Any], nn.Module] | None = None) -> Language:
    """Any causal model of transformers; `load` makes the module from its config where it must not be read whole."""
    transformers = require("transformers", extra="hub")
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if load is None:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    else:
        model = load(config)
    tokenizer = _hf_tokenizer(transformers, folder)
    return Language(model, tokenizer, int(getattr(config, "max_position_embeddings", 2048)), folder)


def _hf_tokenizer(transformers: Any, folder: Path) -> Tokenizer | None:
    if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return _tokenizer_beside(folder)
