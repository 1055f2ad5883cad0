"""Hugging Face folders: a config, and one or several safetensors or `.bin` files with an index."""

import json
from pathlib import Path
from typing import Any

from digsite.base.errors import DigsiteError, NotFound
from digsite.weights.bundle import LazyTensors, Stored, WeightBundle
from digsite.weights.formats import safetensors, torch_file
from digsite.weights.fp8 import SCALES

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "sae_weights.safetensors")
CONFIGS = ("config.json", "cfg.json")  # the second is SAELens's, and TransformerLens's
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
# Families whose published configs leave the flag out because tied is their default.
TIED_BY_DEFAULT = ("gpt2", "opt", "gemma", "gemma2", "gpt_neo", "bloom")


def matches(path: Path) -> bool:
    return path.is_dir()


def read(path: Path) -> WeightBundle:
    name = next((name for name in CONFIGS if (path / name).is_file()), "")
    config = _json(path / name) if name else {}
    parts = [_read_file(path / name) for name in _files(path)]
    tensors: dict[str, Stored] = {}
    for part in parts:
        tensors |= {name: _stored(part, name) for name in part.tensors}
    tied = {alias: name for part in parts for alias, name in part.tied.items()}
    tied |= _tied_head(config, tensors)
    _refuse_missing(path, tensors, tied)
    own = parts[0].meta if len(parts) == 1 else {}
    meta = {**own, "format": "folder", "files": len(parts), **({"config": config} if config else {})}
    return WeightBundle(LazyTensors(tensors), meta, tied)


def _refuse_missing(path: Path, tensors: dict[str, Stored], tied: dict[str, str]) -> None:
    """Every tensor that an index lists must be in the files."""
    for index in INDEXES:
        if (path / index).is_file():
            listed = _json(path / index).get("weight_map", {})
            missing = sorted(name for name in listed if name not in tensors and name not in tied)
            scales = [name for name in missing if name.endswith(SCALES)]
            if missing and len(scales) < len(missing):
                raise DigsiteError(
                    f"'{path}' is incomplete: {len(missing)} of {len(listed)} tensors that its index lists are in none "
                    f"of its files, first '{missing[0]}'."
                )
            return


def _files(path: Path) -> list[str]:
    for index in INDEXES:
        if (path / index).is_file():
            names = _named_files(path, index)
            if missing := [name for name in names if not (path / name).is_file()]:
                raise NotFound(
                    f"'{path}' lacks {len(missing)} of its {len(names)} weight files, the first is '{missing[0]}'."
                )
            return names
    singles = [name for name in SINGLES if (path / name).is_file()]
    others = sorted(p.name for p in path.glob("*.safetensors"))
    others = others or sorted(p.name for end in ("*.pt", "*.pth", "*.bin", "*.ckpt") for p in path.glob(end))
    if singles or len(others) == 1:
        return (singles or others)[:1]
    raise NotFound(
        f"The folder '{path}' holds {'several weight files without an index' if others else 'no weights'}.",
        hint=f"Name one of its files{': ' + ', '.join(others[:3]) if others else ''}.",
    )


def _named_files(path: Path, index: str) -> list[str]:
    """The files that an index names; one that points out of its folder is refused."""
    given = _json(path / index).get("weight_map", {})
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        raise DigsiteError(f"'{path / index}' has no table of tensors and files under 'weight_map'.")
    names = sorted(set(given.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise DigsiteError(f"'{path / index}' points outside of its folder: '{outside[0]}'.")
    return names


def _read_file(path: Path) -> WeightBundle:
    return safetensors.read(path) if path.suffix == ".safetensors" else torch_file.read(path)


def _stored(part: WeightBundle, name: str) -> Stored:
    if isinstance(part.tensors, LazyTensors):
        return part.tensors.stored[name]
    tensor = part.tensors[name]  # mapped from the file by torch.load, so it costs no memory yet
    return Stored(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), lambda: tensor)


def _tied_head(config: dict[str, Any], tensors: dict[str, Stored]) -> dict[str, str]:
    """The output map, where the config says that it is the embedding and no file holds it."""
    tied = config.get("tie_word_embeddings", config.get("model_type") in TIED_BY_DEFAULT)
    heads = [name for name in tensors if name.split(".")[-2:-1] == ["lm_head"]]
    inputs = [name for name in tensors if name.endswith(EMBEDDINGS)]
    return {"lm_head.weight": inputs[0]} if tied and not heads and len(inputs) == 1 else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DigsiteError(f"'{path}' is not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise DigsiteError(f"'{path}' is a {type(found).__name__}, where a JSON object was expected.")
    return found
