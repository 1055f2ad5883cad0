"""Keras: `.h5`, `.weights.h5` and `.keras` files, kernels turned to (out, in) and (out, in, height, width).

Keras writes a dense kernel as (in, out) and a convolution as (height, width, in, out), because its images have
channels last. Kernels are turned here, so that every method sees the same axes; what flattens an image still
walks it channels last, which the metadata says (`channels`).
"""

import io
import json
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base import errors
from digsite.base.errors import DigsiteError
from digsite.weights.bundle import LazyTensors, StoredTensor, WeightBundle, mark_unread
from digsite.weights.formats import Format
from digsite.weights.formats.arrays import limit_bytes

MAGIC = b"\x89HDF\r\n\x1a\n"
INNER = "model.weights.h5"
ROLES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "embeddings": "weight",
}
OPTIMIZER = ("optimizer", "optimizer_weights")


class Keras(Format):
    """`.h5`, `.weights.h5` and `.keras` files, kernels turned to (out, in) and (out, in, height, width)."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        if not path.is_file():
            return False
        if path.suffix == ".keras":
            return True
        with path.open("rb") as file:
            return file.read(8) == MAGIC

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        """Layers in the order in which the model lists them; what flattens images does so with channels last."""
        h5py = errors.require_package("h5py", extra="keras")
        config: dict[str, Any] = {}
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                if INNER not in archive.namelist():
                    raise DigsiteError(f"'{path}' holds no '{INNER}', so it is no Keras model.")
                config = (
                    json.loads(archive.read("config.json")) if "config.json" in archive.namelist() else {}
                )
                source: Any = io.BytesIO(archive.read(INNER))
        else:
            source = path
        file = h5py.File(source, "r")
        datasets: dict[str, Any] = {}
        file.visititems(lambda name, item: datasets.update({name: item}) if hasattr(item, "shape") else None)
        _check_promise(path, datasets)
        stored: dict[str, StoredTensor] = {}
        left: dict[str, dict[str, Any]] = {}
        for name in sorted(datasets, key=partial(_sort_key, _order_layers(file, config))):
            dataset = datasets[name]
            if set(name.split("/")) & set(OPTIMIZER) or dataset.dtype.kind not in "fiub":
                left[name] = mark_unread(
                    "the optimizer's" if dataset.dtype.kind in "fiub" else "no numbers", dataset.shape
                )
                continue
            shape, turn = _choose_turn(name, tuple(dataset.shape))
            stored[_name_variable(name, stored)] = StoredTensor(
                shape, str(dataset.dtype), partial(_load_dataset, dataset, turn)
            )
        return WeightBundle(LazyTensors(stored), {"format": "keras", "channels": "last", "unread": left})


def _check_promise(path: Path, datasets: dict[str, Any]) -> None:
    """A dataset of chunks that were never written takes no place in the file and all of its promised size in memory."""
    promised, most = (
        sum(dataset.size * dataset.dtype.itemsize for dataset in datasets.values()),
        limit_bytes(path),
    )
    if promised > most:
        raise DigsiteError(
            f"'{path}' would unpack to {promised:,} bytes from {path.stat().st_size:,}; at most {most:,} are read."
        )


def _load_dataset(dataset: Any, turn: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """`turn` is the permutation of axes; the result owns its memory."""
    return torch.from_numpy(np.ascontiguousarray(turn(dataset[()])))


def _order_layers(file: Any, config: dict[str, Any]) -> dict[str, int]:
    """Places of layers by name: from the file's attributes, its stored config, or a `.keras` archive's config."""
    group = file.get("model_weights", file)
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs.get("layer_names", [])]
    names = names or [
        layer.get("config", {}).get("name", "") for layer in config.get("config", {}).get("layers", [])
    ]
    return {name: i for i, name in enumerate(names)}


def _sort_key(order: dict[str, int], name: str) -> tuple[int, list[Any]]:
    """Layers in the model's own order where it is written down, else by name with numbers as numbers: dense_2
    before dense_10.
    """
    known = [order[part] for part in name.split("/") if part in order]
    natural = [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", name)]
    return (
        known[0] if known else len(order),
        [str(part).zfill(8) if isinstance(part, int) else part for part in natural],
    )


def _choose_turn(
    name: str, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], Callable[[np.ndarray], np.ndarray]]:
    """Shape after turning, and how to turn. Numbered variables of new files do not say `kernel`; an embedding
    has two axes too and must stay as it is.
    """
    last = name.rsplit("/", 1)[-1].split(":")[0]
    is_kernel = "kernel" in last or (last.isdigit() and "embedding" not in name)
    if is_kernel and len(shape) == 2:
        return (shape[1], shape[0]), np.transpose
    if is_kernel and len(shape) == 4:
        height, width, inputs, outputs = shape
        return (outputs, inputs, height, width), lambda kernel: kernel.transpose(3, 2, 0, 1)
    return shape, np.asarray


def _name_variable(name: str, taken: dict[str, StoredTensor]) -> str:
    """`model_weights/dense/dense/kernel:0` is `dense.weight`; numbered variables keep the order weight, bias."""
    parts = [
        part
        for part in name.split(":")[0].split("/")
        if part not in ("model_weights", "layers", "vars", "_layer_checkpoint_dependencies")
    ]
    last = parts[-1]
    if last.isdigit():
        last = {"0": "weight", "1": "bias", "2": "running_mean", "3": "running_var"}.get(last, last)
    middle = [part for i, part in enumerate(parts[:-1]) if i == 0 or part != parts[i - 1]]
    known = ".".join([*middle, ROLES.get(last, last)])
    return known if known not in taken else name.replace("/", ".")
