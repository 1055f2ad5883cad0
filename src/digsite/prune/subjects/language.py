"""A language model by reference, with its tokenizer: our own, llama2.c's, or any Hugging Face folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from digsite.base.lazy import require
from digsite.data.fetch import find
from digsite.data.tokenizers import Tokenizer, load_tokenizer
from digsite.models.pretrained import from_bundle
from digsite.weights import read_weights


@dataclass(frozen=True)
class Language:
    """`tokenizer` is None for a model of the generated stories, whose tokens need no text."""

    model: nn.Module
    tokenizer: Tokenizer | None
    context: int
    folder: Path | None = None


def load_language(reference: str) -> Language:
    bundle = read_weights(located(reference))
    folder = Path(str(bundle.meta.get("path", "")))
    if "model_type" in bundle.meta.get("config", {}):
        return hugging_face(folder)
    model: Any = from_bundle(bundle)
    for parameter in model.parameters():  # the file's own memory must not be pruned
        parameter.data = parameter.data.clone()
    return Language(model, _tokenizer_beside(folder), int(getattr(model.config, "context", 256)), folder)


def located(reference: str) -> str:
    """The name of a trained model in the data folder, or a folder without a config, as the file that is meant."""
    if named := find(f"lm/{reference}", "model.safetensors"):
        return str(named)
    path = Path(reference.removeprefix("file:"))
    bare = path.is_dir() and not (path / "config.json").is_file() and (path / "model.safetensors").is_file()
    return str(path / "model.safetensors") if bare else reference


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
