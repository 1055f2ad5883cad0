"""Checkpoints of small networks: our own files, and those of published studies of toy tasks."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import NotFound, UsageError
from digsite.config import Config, yamlio
from digsite.models.config import MODELS, parse
from digsite.models.configs.dense import ModularMlpConfig, ResidMlpConfig, TmsConfig
from digsite.models.configs.sequence import ModularTransformerConfig, ToyTransformerConfig
from digsite.models.layouts import Layout
from digsite.weights import WeightBundle

OWN_KEY = "digsite.model"


class Own(Layout):
    """What `save_model` or a zoo wrote: the config is in the metadata, the names are ours."""

    NAME = "own"

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        return _find_own_config(bundle) is not None

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
        config = _find_own_config(bundle)
        assert config is not None
        return parse(config), bundle.state_dict()


def _find_own_config(bundle: WeightBundle) -> dict[str, Any] | None:
    """Under our key in a file, under `model` in a zoo."""
    settings = bundle.meta.get(OWN_KEY, bundle.meta.get("model"))
    return settings if isinstance(settings, dict) and settings.get("kind") in MODELS else None


# Which way attention looks, and what is padding, is not in the weights; these files are known by their shapes.
BRACKETS = {"vocab": 5, "context": 42, "n_outputs": 2}


class Lens(Layout):
    """Checkpoints in TransformerLens's names and shapes, as the ARENA course's toy transformers have them."""

    NAME = "lens"

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        return {"embed.W_E", "blocks.0.attn.b_Q", "unembed.b_U"} <= set(bundle.tensors)

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[ToyTransformerConfig, dict[str, Tensor]]:
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


class ModularAdditionFiles(Layout):
    """The files of "The Clock and the Pizza": weights and, beside them, a config with what the weights do not show."""

    NAME = "modular_addition"

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        names = bundle.tensors
        return {"embed.weight", "l1.weight", "unembed.weight"} <= set(names) or "blocks.0.attn.mask" in names

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
        if "l1.weight" in bundle.tensors:
            return _translate_modular_mlp(bundle)
        width, vocab = bundle.shape("embed.W_E")
        settings = _read_settings(bundle)
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


def _translate_modular_mlp(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
    """All sizes are in the shapes: whether embeddings are joined or added shows in the width that l1 reads."""
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


def _read_settings(bundle: WeightBundle) -> dict:
    """The config file beside a checkpoint: `model_x.pt` has `config_x.json`. The share of attention is in no
    tensor.
    """
    path = Path(str(bundle.meta.get("path", "")))
    beside = path.with_name(path.stem.replace("model_", "config_") + ".json")
    if not beside.is_file():
        raise NotFound(
            f"The share of attention of '{path.name}' is in '{beside.name}', which is not beside it."
        )
    return json.loads(beside.read_text())


SPD_PREFIX = "target_model."
SPD_SETTINGS = "resid_mlp_train_config.yaml"
TMS_NAMES = {"linear1.weight", "linear2.weight", "linear2.bias"}
RESID_NAMES = {"W_E", "W_U", "layers.0.mlp_in.weight", "layers.0.mlp_out.weight"}


class SpdToys(Layout):
    """Toy targets of the reference SPD code: alone, or inside the checkpoint of a decomposition of them.

    A run of a decomposition, a folder with `final_config.yaml`, opens as its last `model_<step>.pth`, which holds the target
    under `target_model.`, the parts and their gates; here the target is built, and what else is there is said by whoever
    opens it.
    """

    NAME = "spd_toys"

    @staticmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        names = _name_targets(bundle)
        if set(names) >= RESID_NAMES:
            return True
        if not set(names) >= TMS_NAMES or "linear1.bias" in names:
            return False
        first, second = (bundle.shape(names[name]) for name in ("linear1.weight", "linear2.weight"))
        return first == second[::-1]

    @staticmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
        names = _name_targets(bundle)
        state = {name: bundle.state_dict()[stored] for name, stored in names.items()}
        return _translate_resid(bundle, state) if "W_E" in state else _translate_tms(state)


def _name_targets(bundle: WeightBundle) -> dict[str, str]:
    """The target's names and how the file has them."""
    every = [*bundle.tensors, *bundle.tied]
    inside = {name.removeprefix(SPD_PREFIX): name for name in every if name.startswith(SPD_PREFIX)}
    return inside or {name: name for name in every}


def _translate_tms(state: dict[str, Tensor]) -> tuple[Config, dict[str, Tensor]]:
    """Two separate matrices also where the source ties them: each can then be decomposed."""
    hidden, features = state["linear1.weight"].shape
    layers = sum(name.startswith("hidden_layers.") for name in state)
    sizes = {"n_features": features, "n_hidden": hidden, "n_hidden_layers": layers}
    config = TmsConfig.model_validate({**sizes, "tied": False})
    return config, {name: tensor.contiguous().clone() for name, tensor in state.items()}


def _translate_resid(bundle: WeightBundle, state: dict[str, Tensor]) -> tuple[Config, dict[str, Tensor]]:
    """Refuses what ours cannot say, an output map of its own or biases in one map alone, instead of dropping
    it.
    """
    if not torch.allclose(state["W_U"], state["W_E"].T):
        raise UsageError(
            "This residual MLP reads its output by a map of its own, and ours by the transposed embedding."
        )
    biases = [name for name in state if name.endswith("bias")]
    maps = [name for name in state if name.startswith("layers.") and name.endswith("weight")]
    if biases and len(biases) != len(maps):
        raise UsageError("This residual MLP has biases in one of its maps only, and ours in both or none.")
    width, d_mlp = state["W_E"].shape[1], state["layers.0.mlp_in.weight"].shape[0]
    sizes = {"n_features": len(state["W_E"]), "d_resid": width, "d_mlp": d_mlp, "n_layers": len(maps) // 2}
    config = ResidMlpConfig.model_validate(
        {**sizes, "bias": bool(biases), "activation": _read_activation(bundle)}
    )
    return config, {name: tensor for name, tensor in state.items() if name != "W_U"}


def _read_activation(bundle: WeightBundle) -> Any:
    """The nonlinearity is in no weight; the settings beside the file have it."""
    path = Path(str(bundle.meta.get("path", "")))
    path = (path if path.is_dir() else path.parent) / SPD_SETTINGS
    if not path.is_file():
        raise NotFound(
            f"The nonlinearity of this residual MLP is in '{SPD_SETTINGS}', which is not beside it."
        )
    content = yamlio.load_yaml(path)
    settings = content.get("resid_mlp_config", content.get("resid_mlp_model_config", content))
    return settings.get("act_fn_name", "relu") if isinstance(settings, dict) else "relu"
