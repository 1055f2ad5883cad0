"""Hugging Face folders: a config, and one or several safetensors or `.bin` files with an index."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from digsite.base.errors import DigsiteError, NotFound
from digsite.weights.bundle import LazyTensors, StoredTensor, WeightBundle
from digsite.weights.formats import Format
from digsite.weights.formats.safetensors import SCALES, Safetensors, scale_tensors
from digsite.weights.formats.torch_file import TorchFile

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "sae_weights.safetensors")
CONFIGS = ("config.json", "cfg.json")  # the second is SAELens's, and TransformerLens's
SPD_RUN = (
    "final_config.yaml"  # of a run of the reference SPD code, beside its checkpoints and a copy of its target
)
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
# Families whose published configs leave the flag out because tied is their default.
TIED_BY_DEFAULT = ("gpt2", "opt", "gemma", "gemma2", "gpt_neo", "bloom")


class Folder(Format):
    """Hugging Face folders: a config, and one or several safetensors or `.bin` files with an index."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        return path.is_dir()

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        name = next((name for name in CONFIGS if (path / name).is_file()), "")
        config = _read_json_object(path / name) if name else {}
        parts = [_read_file(path / name) for name in list_weight_files(path)]
        tensors: dict[str, StoredTensor] = {}
        for part in parts:
            tensors |= {name: _describe_tensor(part, name) for name in part.tensors}
        tied = {alias: name for part in parts for alias, name in part.tied.items()}
        tied |= _find_tied_head(config, tensors)
        unread = {name: entry for part in parts for name, entry in part.meta.get("unread", {}).items()}
        refuse_incomplete(path, [*tensors, *tied, *unread])
        # A scale may lie in another file than its weight.
        tensors, unscaled = scale_tensors(
            tensors, [n for part in parts for n in part.meta.get("unscaled", [])]
        )
        own = parts[0].meta if len(parts) == 1 else {}
        own = {key: value for key, value in own.items() if key != "unscaled"}
        said = {
            "config": config,
            "unread": unread,
            "unscaled": unscaled,
            "own_code": _list_own_code(path, config),
        }
        meta = {**own, "format": "folder", "files": len(parts), **{k: v for k, v in said.items() if v}}
        return WeightBundle(LazyTensors(tensors), meta, tied)


def _list_own_code(path: Path, config: dict[str, Any]) -> list[str]:
    """Programs that a config asks for; they are named and never run."""
    return sorted(file.name for file in path.glob("*.py")) if "auto_map" in config else []


def refuse_incomplete(path: Path, names: Collection[str]) -> None:
    """Every tensor that an index lists must be in the files."""
    for index in INDEXES:
        if (path / index).is_file():
            listed = _read_json_object(path / index).get("weight_map", {})
            missing = sorted(name for name in listed if name not in names)
            scales = [name for name in missing if name.endswith(SCALES)]
            if missing and len(scales) < len(missing):
                raise DigsiteError(
                    f"'{path}' is incomplete: {len(missing)} of {len(listed)} tensors that its index lists are in none "
                    f"of its files, first '{missing[0]}'."
                )
            return


def list_weight_files(path: Path) -> list[str]:
    """Files of weights by what the folder says: an index, the last checkpoint of a decomposition, a usual name, or the
    only file there is.
    """
    for index in INDEXES:
        if (path / index).is_file():
            names = _list_indexed_files(path, index)
            if missing := [name for name in names if not (path / name).is_file()]:
                raise NotFound(
                    f"'{path}' lacks {len(missing)} of its {len(names)} weight files, the first is '{missing[0]}'."
                )
            return names
    if (path / SPD_RUN).is_file() and (steps := sorted(path.glob("model_*.pth"), key=_step_of)):
        return [steps[-1].name]
    singles = [name for name in SINGLES if (path / name).is_file()]
    others = sorted(p.name for p in path.glob("*.safetensors"))
    others = others or sorted(p.name for end in ("*.pt", "*.pth", "*.bin", "*.ckpt") for p in path.glob(end))
    if singles or len(others) == 1:
        return (singles or others)[:1]
    raise NotFound(
        f"The folder '{path}' holds {'several weight files without an index' if others else 'no weights'}.",
        hint=f"Name one of its files{': ' + ', '.join(others[:3]) if others else ''}.",
    )


def _step_of(path: Path) -> int:
    """The step in the name of a checkpoint, `model_40000.pth`; -1 where there is none."""
    number = path.stem.rpartition("_")[2]
    return int(number) if number.isdecimal() else -1


def _list_indexed_files(path: Path, index: str) -> list[str]:
    """The files that an index names; one that points out of its folder is refused."""
    given = _read_json_object(path / index).get("weight_map", {})
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        raise DigsiteError(f"'{path / index}' has no table of tensors and files under 'weight_map'.")
    names = sorted(set(given.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise DigsiteError(f"'{path / index}' points outside of its folder: '{outside[0]}'.")
    return names


def refuse_special_file(path: Path) -> None:
    """Opening a pipe would wait for whoever writes into it: what is there must be a plain file."""
    if path.exists() and not path.is_file():
        raise DigsiteError(f"'{path}' is no file that can be read: it is a folder, a pipe or a device.")


def _read_file(path: Path) -> WeightBundle:
    """By its ending, since an index names files of two formats."""
    refuse_special_file(path)
    return Safetensors.read_path(path) if path.suffix == ".safetensors" else TorchFile.read_path(path)


def _describe_tensor(part: WeightBundle, name: str) -> StoredTensor:
    """A tensor as one that is yet to be read, whichever format its part of the folder has."""
    if isinstance(part.tensors, LazyTensors):
        return part.tensors.stored[name]
    tensor = part.tensors[name]  # mapped from the file by torch.load, so it costs no memory yet
    return StoredTensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), lambda: tensor)


def _find_tied_head(config: dict[str, Any], tensors: dict[str, StoredTensor]) -> dict[str, str]:
    """The output map, where the config says that it is the embedding and no file holds it."""
    tied = config.get("tie_word_embeddings", config.get("model_type") in TIED_BY_DEFAULT)
    heads = [name for name in tensors if name.split(".")[-2:-1] == ["lm_head"]]
    inputs = [name for name in tensors if name.endswith(EMBEDDINGS)]
    return {"lm_head.weight": inputs[0]} if tied and not heads and len(inputs) == 1 else {}


def _read_json_object(path: Path) -> dict[str, Any]:
    """A config or an index; anything but an object is refused, for its keys are asked for next."""
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DigsiteError(f"'{path}' is not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise DigsiteError(f"'{path}' is a {type(value).__name__}, where a JSON object was expected.")
    return value
