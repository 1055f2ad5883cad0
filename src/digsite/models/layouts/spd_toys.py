"""Toy targets of the reference SPD code: alone, or inside the checkpoint of a decomposition of them.

A decomposition's checkpoint (`model_<step>.pth` beside `final_config.yaml`) holds its target under `target_model.`, the
parts and their gates; here the target is built, and what else is there is said by whoever opens the file.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import NotFound, UsageError
from digsite.config import Config, yamlio
from digsite.models.configs.resid_mlp import ResidMlpConfig
from digsite.models.configs.tms import TmsConfig
from digsite.weights import WeightBundle

PREFIX = "target_model."
SETTINGS = "resid_mlp_train_config.yaml"
TMS = {"linear1.weight", "linear2.weight", "linear2.bias"}
RESID = {"W_E", "W_U", "layers.0.mlp_in.weight", "layers.0.mlp_out.weight"}


def matches(bundle: WeightBundle) -> bool:
    names = _names(bundle)
    if set(names) >= RESID:
        return True
    if not set(names) >= TMS or "linear1.bias" in names:
        return False
    first, second = (bundle.shape(names[name]) for name in ("linear1.weight", "linear2.weight"))
    return first == second[::-1]


def translate(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
    names = _names(bundle)
    state = {name: bundle.state_dict()[stored] for name, stored in names.items()}
    return _resid(bundle, state) if "W_E" in state else _tms(state)


def _names(bundle: WeightBundle) -> dict[str, str]:
    """The target's names and how the file has them."""
    every = [*bundle.tensors, *bundle.tied]
    inside = {name.removeprefix(PREFIX): name for name in every if name.startswith(PREFIX)}
    return inside or {name: name for name in every}


def _tms(state: dict[str, Tensor]) -> tuple[Config, dict[str, Tensor]]:
    """Two separate matrices also where the source ties them: each can then be decomposed."""
    hidden, features = state["linear1.weight"].shape
    layers = sum(name.startswith("hidden_layers.") for name in state)
    sizes = {"n_features": features, "n_hidden": hidden, "n_hidden_layers": layers}
    config = TmsConfig.model_validate({**sizes, "tied": False})
    return config, {name: tensor.contiguous().clone() for name, tensor in state.items()}


def _resid(bundle: WeightBundle, state: dict[str, Tensor]) -> tuple[Config, dict[str, Tensor]]:
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
    config = ResidMlpConfig.model_validate({**sizes, "bias": bool(biases), "activation": _activation(bundle)})
    return config, {name: tensor for name, tensor in state.items() if name != "W_U"}


def _activation(bundle: WeightBundle) -> Any:
    """The nonlinearity is in no weight; the settings beside the file have it."""
    path = Path(str(bundle.meta.get("path", ""))).with_name(SETTINGS)
    if not path.is_file():
        raise NotFound(f"The nonlinearity of this residual MLP is in '{SETTINGS}', which is not beside it.")
    found = yamlio.load_yaml(path)
    settings = found.get("resid_mlp_config", found.get("resid_mlp_model_config", found))
    return settings.get("act_fn_name", "relu") if isinstance(settings, dict) else "relu"
