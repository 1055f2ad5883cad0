"""Masks in one safetensors file: packed bits, shapes, and where they come from."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from digsite.base import atomic
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.prune.core import layers
from digsite.prune.core.packed import PackedMask, orient_features
from digsite.prune.subjects.shards import write_tensors
from digsite.weights import WeightBundle, open_weights

KIND = "digsite.masks"
# The original's files are called layer1-self_attn.v_proj.pt, in a folder or behind the name of a method.
LAYER = re.compile(r"layers?[-_. ]?(?P<layer>\d+)[-_. ](?P<component>[\w.]+)$", re.IGNORECASE)
MASK_FILES = (".npy", ".npz", ".pt", ".pth", ".safetensors")


class StoredMasks(Mapping[str, np.ndarray]):
    """Boolean matrices by the names of their maps, unpacked when asked for. A matrix of weights counts as its nonzeros."""

    def __init__(self, bundle: WeightBundle) -> None:
        self._bundle = bundle
        self.packed = bundle.meta.get("kind") == KIND
        self._shapes: dict[str, list[int]] = bundle.meta.get("shapes", {})
        self.provenance: dict[str, Any] = bundle.meta.get("provenance", {})

    def __getitem__(self, name: str) -> Bool[np.ndarray, "out in"]:
        """Unpacked when it is asked for."""
        if name not in self:
            raise NotFound(f"There is no mask of '{name}' in the file. {name_nearest(name, list(self))}")
        stored = self._bundle.tensors[name]
        if not self.packed:
            return (stored != 0).numpy()
        _, columns = self._shapes[name]
        return np.unpackbits(stored.numpy(), axis=1, count=columns, bitorder="little").view(bool)

    def __contains__(self, name: object) -> bool:
        """Without reading anything."""
        return any(name == known for known in self)

    def __iter__(self) -> Iterator[str]:
        names = self._bundle.tensors
        return (
            iter(self._shapes)
            if self.packed
            else (name for name in names if len(self._bundle.shape(name)) == 2)
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def find(self, layer: int, component: str) -> str:
        """The map of a layer; a file with a single matrix needs no name."""
        names = list(self)
        if len(names) == 1:
            return names[0]
        matching = [
            n for n in names if layers.component_of(n) == component and layers.layer_number(n) == layer
        ]
        if not matching:
            known = [f"layer {layers.layer_number(n)} {layers.component_of(n)}" for n in names]
            raise UsageError(
                f"The file has no mask of layer {layer} '{component}'. {name_nearest(f'layer {layer} {component}', known)}"
            )
        return matching[0]

    def check_model(self, shapes: Mapping[str, tuple[int, ...]], fingerprint: str = "") -> None:
        """Refuse masks of another model: every map must be there with this shape, and the weights be the same."""
        for name in self:
            shape = tuple(self._shapes[name]) if self.packed else self._bundle.shape(name)
            if shapes.get(name) != shape:
                have = f"has shape {shapes[name]}" if name in shapes else "does not exist"
                raise UsageError(
                    f"These masks are of another model: '{name}' is {shape} in the file and {have} in the model."
                )
        made_from = self.provenance.get("model_hash") or fingerprint
        if fingerprint and made_from != fingerprint:
            raise UsageError(
                f"These masks are of another model: they were made from weights {made_from}, and these are {fingerprint}.",
                hint=f"Name the model they were made from: '{self.provenance.get('model', 'unknown')}'.",
            )


Masks = Mapping[str, np.ndarray] | Mapping[str, PackedMask]


def packed_tensors(masks: Masks, provenance: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a mask file."""
    packed = {name: orient_features(mask, "rows") for name, mask in masks.items()}
    bits = {
        name: torch.from_numpy(mask.words.view(np.uint8)[:, : -(-mask.n_bits // 8)].copy())
        for name, mask in packed.items()
    }
    texts = {
        "kind": KIND,
        "shapes": json.dumps({name: list(mask.shape) for name, mask in packed.items()}),
        "provenance": json.dumps(dict(provenance), sort_keys=True),
    }
    return bits, texts


def write_masks(path: Path, masks: Masks, provenance: Mapping[str, Any]) -> None:
    """Masks by name, packed, with what is needed to make them again; the same masks give the same bytes."""
    tensors, metadata = packed_tensors(masks, provenance)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replace_file(path) as temporary:
        write_tensors(temporary, tensors, metadata)  # the format's own writer has no fixed order of metadata


def read_masks(path: Path) -> StoredMasks:
    """A mask file of ours, or any file or folder of pruned weights."""
    masks = StoredMasks(open_weights(path))
    if not len(masks):
        raise UsageError(f"'{path}' holds no matrix, so no mask.")
    return masks


@dataclass(frozen=True)
class GivenMask:
    """A mask of somebody's own: what made it is known from its name alone, if that says so."""

    name: str
    keep: Bool[Tensor, "out in"]
    relative_error: None = None

    @property
    def layer(self) -> int:
        """Of `layer3-mlp.up_proj` and of `model.layers.3.mlp.up_proj` alike; 0 where no number is named."""
        written = LAYER.search(self.name)
        return int(written["layer"]) if written else layers.layer_number(self.name)

    @property
    def component(self) -> str:
        """The map inside its layer: what follows the layer's number, or the last part of the name."""
        written = LAYER.search(self.name)
        return written["component"] if written else layers.component_of(self.name.rpartition("/")[2])

    def made_by(self, methods: Iterable[str]) -> str:
        """The longest of `methods` that is a word of the name, or '' where none is."""
        words = "_" + re.sub(r"[^a-z0-9]+", "_", self.name.lower()) + "_"
        return max((method for method in methods if f"_{method}_" in words), key=len, default="")


def given_masks(path: Path) -> list[GivenMask]:
    """Every matrix of a file, or of all files of a folder and the folders in it, as a mask: its nonzeros are kept.

    A matrix without a zero is no mask, and neither is one that keeps nothing.
    """
    if not path.exists():
        raise NotFound(f"There is no file or folder '{path}' of masks.")
    files = (
        sorted(p for p in (*path.glob("*"), *path.glob("*/*")) if p.is_file() and p.suffix in MASK_FILES)
        if path.is_dir()
        else [path]
    )
    masks: list[GivenMask] = []
    for file in files:
        stored = StoredMasks(open_weights(file))
        names = list(stored)
        for name in names:
            keep = torch.from_numpy(stored[name].copy())
            if 0 < int(keep.sum()) < keep.numel():
                file_name = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
                label = file_name if len(names) == 1 else name if len(files) == 1 else f"{file_name}/{name}"
                masks.append(GivenMask(label, keep))
    if not masks:
        raise UsageError(
            f"'{path}' holds no mask: no matrix that has both zeros and nonzeros.",
            hint=f"A mask is a matrix in a file ({', '.join(MASK_FILES)}), or a folder of such files.",
        )
    return masks


def model_hash(maps: Iterable[tuple[str, Tensor]]) -> str:
    """The same for a model in memory and for one that is streamed, of which one map at a time is there."""
    each = sorted((name, tensor_hash([weight.float()])) for name, weight in maps)
    return hashlib.blake2b(repr(each).encode(), digest_size=12).hexdigest()


def tensor_hash(tensors: Iterable[Tensor]) -> str:
    """A short fingerprint of weights or tokens, for provenance."""
    digest = hashlib.blake2b(digest_size=12)
    for tensor in tensors:
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
