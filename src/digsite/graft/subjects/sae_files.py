"""Sparse autoencoders read and written in common layouts: SAELens (transcoders too), sparsify, and that of published crosscoders."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from digsite.base.atomic import write_json
from digsite.base.errors import NotFound, UsageError
from digsite.graft.core.dictionaries import Sae, SaeSpec, find_kind, list_kinds

TRANSCODERS = {
    "standard": "transcoder",
    "jumprelu": "jumprelu_transcoder",
}  # SAELens's names by the autoencoder's


def in_saelens(kind: str) -> str:
    """What SAELens calls this kind; empty where its layout cannot hold it."""
    return find_kind(kind).SAELENS


def unscale_sae(sae: Sae) -> dict[str, Tensor]:
    """The four matrices with the input scale folded in; the published bottleneck has no such form."""
    if "W_dec" not in sae.params:
        raise UsageError(
            f"A '{sae.spec.kind}' autoencoder has no single encoder and decoder and fits neither layout.",
            hint=f"Accepted: {', '.join(filter(in_saelens, list_kinds()))}.",
        )
    p = {k: v.detach() for k, v in sae.params.items()}
    unit = (
        sae.scale_out.mean()
    )  # codes are told at the scale of what they rebuild, so that decoder rows stay as they are
    out = {
        "W_enc": p["W_enc"] / sae.scale.expand(len(p["W_enc"]))[:, None] * unit,
        "b_enc": p["b_enc"] * unit,
        "W_dec": p["W_dec"] * sae.scale_out / unit,
        "b_dec": p["b_dec"] * sae.scale_out,
    }
    if "threshold" in p:
        out["threshold"] = p["threshold"].expand(len(p["b_enc"])) * unit
    return {k: v.contiguous().clone() for k, v in out.items()}


def save_saelens(sae: Sae, folder: Path) -> None:
    """`cfg.json` and `sae_weights.safetensors`; batch-top-k is stored as the threshold network it has become."""
    if sae.task == "crosscoder":
        raise UsageError("SAELens's layout holds no crosscoder.", hint="Use save_crosscoder.")
    tensors, architecture = unscale_sae(sae), in_saelens(sae.spec.kind)
    d, m = tensors["W_enc"].shape
    if sae.task == "transcoder":
        if architecture not in TRANSCODERS:
            raise UsageError(f"SAELens's layout holds no transcoder of the kind '{sae.spec.kind}'.")
        architecture = TRANSCODERS[architecture]
    cfg: dict[str, Any] = {
        "architecture": architecture,
        "d_in": d,
        "d_sae": m,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"written_by": "digsite", "kind": sae.spec.kind},
    }
    if sae.task == "transcoder":
        cfg["d_out"] = tensors["W_dec"].shape[1]
    if find_kind(sae.spec.kind).SPARSIFY:
        cfg["k"] = int(sae.spec.sparsity)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "sae_weights.safetensors")
    write_json(folder / "cfg.json", cfg)


def save_sparsify(sae: Sae, folder: Path) -> None:
    """`cfg.json` and `sae.safetensors`; that layout knows top-k only and subtracts the decoder bias first."""
    if not find_kind(sae.spec.kind).SPARSIFY or sae.task != "autoencoder":
        raise UsageError(
            f"The sparsify layout holds top-k autoencoders only, not a '{sae.spec.kind}' {sae.task}."
        )
    t = unscale_sae(sae)
    shifted = t["b_enc"] + t["b_dec"] @ t["W_enc"]
    tensors = {
        "encoder.weight": t["W_enc"].T,
        "encoder.bias": shifted,
        "W_dec": t["W_dec"],
        "b_dec": t["b_dec"],
    }
    cfg = {
        "expansion_factor": 0,
        "normalize_decoder": False,
        "num_latents": t["W_enc"].shape[1],
        "k": int(sae.spec.sparsity),
        "multi_topk": False,
        "skip_connection": False,
        "d_in": t["W_enc"].shape[0],
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "sae.safetensors")
    write_json(folder / "cfg.json", cfg)


def save_crosscoder(sae: Sae, folder: Path, streams: int = 2) -> None:
    """`config.json` and `model.safetensors` as published crosscoders have them (crosscoder_learning): a matrix for each model."""
    if sae.task != "crosscoder" or sae.spec.kind not in ("l1", "crosscoder"):
        raise UsageError(
            f"The layout of published crosscoders holds ReLU codes of several models, not a '{sae.spec.kind}' {sae.task}."
        )
    t = unscale_sae(sae)
    tensors = {
        "encoder.weight": t["W_enc"].unflatten(0, (streams, -1)),
        "encoder.bias": t["b_enc"],
        "decoder.weight": t["W_dec"].unflatten(1, (streams, -1)).transpose(0, 1),
        "decoder.bias": t["b_dec"].unflatten(0, (streams, -1)),
    }
    cfg = {
        "activation_dim": t["b_dec"].numel() // streams,
        "dict_size": len(t["b_enc"]),
        "num_layers": streams,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    write_json(folder / "config.json", cfg)


def _from_crosscoder(t: dict[str, Tensor]) -> Sae:
    """A crosscoder from its tensors `t`: encoders (models, d, codes), decoders (models, codes, d)."""
    wanted = {"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"}
    if set(t) != wanted or t["encoder.weight"].ndim != 3:
        raise UsageError(
            f"This is no crosscoder with ReLU codes and linear decoders: it holds {', '.join(sorted(t)) or 'nothing'}.",
            hint="Crosscoders with thresholds or another number of open codes are not read.",
        )
    params = {
        "W_enc": t["encoder.weight"].flatten(0, 1),
        "b_enc": t["encoder.bias"],
        "W_dec": t["decoder.weight"].transpose(0, 1).flatten(1),
        "b_dec": t["decoder.bias"].flatten(),
    }
    kind = "crosscoder" if len(t["encoder.weight"]) == 2 else "l1"
    return _make_sae(kind, params, 0.0, "crosscoder")


def load_sae(folder: Path) -> Sae:
    """Any of the layouts, told apart by its file names."""
    if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
        return _from_crosscoder(load_file(folder / "model.safetensors"))
    if not (folder / "cfg.json").is_file():
        raise NotFound(
            f"There is no 'cfg.json' in '{folder}'.", hint="Give a SAELens, sparsify or crosscoder folder."
        )
    cfg = json.loads((folder / "cfg.json").read_text())
    if (folder / "sae.safetensors").is_file():
        _reject_others(cfg)
        t = load_file(folder / "sae.safetensors")
        enc = t["encoder.weight"].T.contiguous()
        params = {
            "W_enc": enc,
            "b_enc": t["encoder.bias"] - t["b_dec"] @ enc,
            "W_dec": t["W_dec"],
            "b_dec": t["b_dec"],
        }
        return _make_sae("topk", params, float(cfg["k"]))
    weights = folder / "sae_weights.safetensors"
    if not weights.is_file():
        raise NotFound(
            f"There are no weights in '{folder}'.", hint="Looked for sae_weights and sae.safetensors."
        )
    return _from_saelens(cfg, load_file(weights))


def _reject_others(cfg: dict[str, Any]) -> None:
    """What a sparsify folder may also hold and what is no autoencoder of ours."""
    if (activation := cfg.get("activation", "topk")) != "topk":
        raise UsageError(f"sparsify activation '{activation}' is not read, only 'topk'.")
    for key in ("transcode", "skip_connection"):
        if cfg.get(key):
            raise UsageError(f"A sparsify coder with '{key}' is not read, only plain autoencoders.")


def _from_saelens(cfg: dict[str, Any], t: dict[str, Tensor]) -> Sae:
    """An autoencoder from SAELens's `cfg` and tensors `t`; what is not read is named."""
    architecture = cfg.get("architecture", "standard")
    kinds = {"standard": "l1", "topk": "topk", "jumprelu": "jumprelu"}
    kinds |= {theirs: kinds[own] for own, theirs in TRANSCODERS.items()}
    if architecture not in kinds:
        raise UsageError(
            f"SAELens architecture '{architecture}' is not read.", hint=f"Accepted: {', '.join(kinds)}."
        )
    if cfg.get("normalize_activations", "none") != "none":
        raise UsageError(f"normalize_activations '{cfg['normalize_activations']}' is not read, only 'none'.")
    if architecture in TRANSCODERS.values():
        if cfg.get("apply_b_dec_to_input"):
            raise UsageError(
                "A transcoder's output bias cannot be taken off its input, and this file says so."
            )
        return _make_sae(kinds[architecture], t, 0.0, "transcoder")
    if cfg.get("apply_b_dec_to_input"):
        t["b_enc"] = t["b_enc"] - t["b_dec"] @ t["W_enc"]
    if architecture == "topk":
        k = cfg.get("k") or cfg.get("activation_fn_kwargs", {}).get("k")
        return _make_sae("topk", t, float(k))
    return _make_sae(kinds[architecture], t, 0.0)


def _make_sae(kind: str, params: dict[str, Tensor], sparsity: float, task: str = "autoencoder") -> Sae:
    """Our own object from parameters by SAELens's names."""
    known = {"W_enc", "b_enc", "W_dec", "b_dec", "threshold"}
    kept = {k: v.float() for k, v in params.items() if k in known}
    return Sae(SaeSpec(kind, kept["W_enc"].shape[1], sparsity), kept, torch.ones(()), task=task)
