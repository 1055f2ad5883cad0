"""The files of "The Clock and the Pizza": weights and, beside them, a config with what the weights do not show."""

import json
from pathlib import Path

from torch import Tensor

from digsite.base.errors import NotFound
from digsite.config import Config
from digsite.models.configs.modular_mlp import ModularMlpConfig
from digsite.models.configs.modular_transformer import ModularTransformerConfig
from digsite.weights import WeightBundle


def matches(bundle: WeightBundle) -> bool:
    names = bundle.tensors
    return {"embed.weight", "l1.weight", "unembed.weight"} <= set(names) or "blocks.0.attn.mask" in names


def translate(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
    if "l1.weight" in bundle.tensors:
        return _mlp(bundle)
    width, vocab = bundle.shape("embed.W_E")
    settings = _settings(bundle)
    config = ModularTransformerConfig(
        modulus=settings["C"],
        vocab=vocab,
        d_model=width,
        d_mlp=bundle.shape("blocks.0.mlp.W_in")[0],
        n_heads=bundle.shape("blocks.0.attn.W_Q")[0],
        n_layers=sum(name.endswith("mlp.W_in") for name in bundle.tensors),
        attention=settings["attn_coeff"],
    )
    return config, {name: t for name, t in bundle.tensors.items() if not name.endswith("attn.mask")}


def _mlp(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
    modulus, width = bundle.shape("embed.weight")
    hidden, joined = bundle.shape("l1.weight")
    two = "l2.weight" in bundle.tensors
    config = ModularMlpConfig(
        modulus=modulus,
        d_embed=width,
        d_hidden=hidden,
        d_out=bundle.shape("unembed.weight")[1],
        join="add" if joined == width else "concatenate",
        n_hidden=2 if two else 1,
    )
    return config, bundle.state_dict()


def _settings(bundle: WeightBundle) -> dict:
    path = Path(str(bundle.meta.get("path", "")))
    beside = path.with_name(path.stem.replace("model_", "config_") + ".json")
    if not beside.is_file():
        raise NotFound(
            f"The share of attention of '{path.name}' is in '{beside.name}', which is not beside it."
        )
    return json.loads(beside.read_text())
