"""Models from references and to files."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from digsite.base import atomic
from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.config import Config
from digsite.models.architectures.language import Gpt2, Llama
from digsite.models.layouts import UNKNOWN_USE, assemble_module, say_unknown_use
from digsite.models.layouts.language import (
    reorder_halves,
    transpose_maps,
    write_gpt2_config,
    write_llama_config,
)
from digsite.models.layouts.small import OWN_KEY
from digsite.models.opening.opened import open_folder
from digsite.weights import Reference, WeightBundle, parse_reference, read_weights, write_weights
from digsite.weights.sources.local import make_module


@public_method()
def load_model(reference: str | Reference) -> nn.Module:
    """The module that a reference names, in evaluation mode; a module of the user's own is returned as it is.

    `reference` as `digsite.weights.parse_reference` takes it. Modules of ours and of transformers come in
    float32.
    """
    parsed = parse_reference(reference) if isinstance(reference, str) else reference
    if parsed.is_code:
        return make_module(parsed.target)
    return build_from_bundle(read_weights(parsed))


def build_from_bundle(bundle: WeightBundle) -> nn.Module:
    """The network of a bundle: of a layout that we know, or as its Hugging Face folder says."""
    known = assemble_module(bundle)
    if known is not None:
        return known
    if "config" in bundle.meta:
        return open_folder(bundle).answering("be run")
    raise UsageError(say_unknown_use(bundle), hint=UNKNOWN_USE)


@public_method()
def save_model(path: Path, model: nn.Module, meta: dict[str, Any] | None = None) -> None:
    """Weights and config in one safetensors file, which `load_model` builds again.

    `path` of the file, `model` one that was built from a config of ours, `meta` more to write beside it, as
    text or JSON.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, Config):
        raise UsageError(
            f"A {type(model).__name__} has no config of ours, so it cannot be built again from a file.",
            hint="Save its weights with digsite.weights.write_weights, and load it with py:module:factory.",
        )
    write_weights(path, model, {**(meta or {}), OWN_KEY: config.model_dump_json()})


@public_method()
def to_huggingface(folder: Path, model: nn.Module) -> None:
    """Write a folder that `transformers` opens, of a Llama or a GPT-2.

    `folder` is made, `model` a `Llama` or `Gpt2` of ours. Weights are put into the order that the other side
    expects, so the logits there are the same (a test compares them).
    """
    state = model.state_dict()
    if isinstance(model, Llama):
        config, state = write_llama_config(model.config), _reorder_queries(model, state)
    elif isinstance(model, Gpt2):
        config, state = write_gpt2_config(model.config), transpose_maps(state)
    else:
        raise UsageError(
            f"A {type(model).__name__} has no Hugging Face layout.", hint="Accepted: llama, gpt2."
        )
    if model.config.tied:
        del state["lm_head.weight"]
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "model.safetensors", state)
    atomic.write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")


def _reorder_queries(model: Llama, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query and key rows in Hugging Face's order."""
    if model.config.rope == "halves":
        return state
    heads = {"q_proj": model.config.n_heads, "k_proj": model.config.n_kv_heads}

    def reorder(name: str, tensor: Tensor) -> Tensor:
        n = heads.get(name.split(".")[-2], 0)
        return reorder_halves(tensor, n) if n else tensor

    return {name: reorder(name, tensor) for name, tensor in state.items()}
