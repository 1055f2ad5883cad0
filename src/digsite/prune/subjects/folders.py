"""A pruned model back into a folder like the one it came from, and what an interrupted pruning has left there."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from digsite.base import atomic
from digsite.base.errors import UsageError
from digsite.models.opening import one_sentence, quiet_libraries
from digsite.prune.core.layers import LayerBlock
from digsite.prune.core.model import PrunedMap, PruneProgress
from digsite.prune.core.packed import PackedMask
from digsite.prune.subjects.language import Language
from digsite.prune.subjects.shards import write_tensors
from digsite.weights import WeightBundle, write_weights
from digsite.weights.bundle import read_dtype

WEIGHT_FILES = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".h5",
    ".msgpack",
    ".onnx",
    ".gguf",
    ".ckpt",
    ".npz",
    ".ot",
)
SKIPPED_FOLDERS = ("onnx", "openvino", "coreml")  # the dense weights once more
BESIDE_OURS = ("tokenizer*", "tok*", "vocab*", "merges.txt", "special_tokens_map.json")


def write_pruned(folder: Path, language: Language) -> None:
    """The pruned module in the layout, the data types and the company in which it was opened."""
    model: Any = language.model
    folder.mkdir(parents=True, exist_ok=True)
    bundle = language.opened.bundle if language.opened is not None else None
    if hasattr(model, "save_pretrained"):
        _write_pretrained(folder, model, bundle)
        if language.folder is not None:
            copy_side_files(language.folder, folder)
        return
    meta = {"digsite.model": model.config.model_dump(mode="json")} if hasattr(model, "config") else {}
    write_weights(folder / "model.safetensors", model, meta)
    config = bundle.meta.get("config", {}) if bundle is not None else {}
    if "model_type" in config:  # a GGUF, whose names and settings are Hugging Face's by now
        atomic.write_json(folder / "config.json", config)
        if hasattr(language.tokenizer, "save_pretrained"):
            language.tokenizer.save_pretrained(folder)
    if language.folder is not None:
        source = language.folder if language.folder.is_dir() else language.folder.parent
        for pattern in BESIDE_OURS:
            for path in source.glob(pattern):
                shutil.copyfile(path, folder / path.name)


def _write_pretrained(folder: Path, model: Any, bundle: WeightBundle | None) -> None:
    """In the precision that most of the model was stored in: a pruned folder should not be twice as large."""
    stored = stored_dtypes(bundle) if bundle is not None else {}
    floating = Counter()
    for name, dtype in stored.items():
        if dtype.is_floating_point and bundle is not None:
            floating[dtype] += _count_entries(bundle.shape(name))
    if floating and (main := floating.most_common(1)[0][0]).itemsize >= 2:
        model.to(main)
    with quiet_libraries(), one_sentence(f"Saving the pruned {type(model).__name__}"):
        model.save_pretrained(folder)
    _restore_dtypes(folder, stored)


def stored_dtypes(bundle: WeightBundle) -> dict[str, torch.dtype]:
    """The data type of every tensor on disk, without reading it where that is not needed."""
    dtypes = {name: read_dtype(bundle, name) for name in bundle.tensors}
    return {name: dtype for name, dtype in dtypes.items() if dtype is not None}


def _restore_dtypes(folder: Path, stored: dict[str, torch.dtype]) -> None:
    """A model is cast as a whole; tensors that were of another type on disk get theirs back."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = file.metadata()
        wrong = [
            n for n, t in tensors.items() if stored.get(n, t.dtype) != t.dtype and stored[n].itemsize >= 2
        ]
        if wrong:
            with atomic.replace_file(path) as temporary:
                save_file(
                    {n: t.to(stored[n]) if n in wrong else t for n, t in tensors.items()}, temporary, meta
                )


def copy_side_files(source: Path, folder: Path) -> None:
    """Everything beside the weights, byte for byte: configs, tokenizer, chat template, generation settings, licence.

    Code (`.py`) is left behind, and so are other copies of the dense weights.
    """
    if not source.is_dir():
        return
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or path.suffix == ".py" or path.name.endswith(".index.json"):
            continue
        if path.is_file() and path.suffix not in WEIGHT_FILES:
            shutil.copyfile(path, folder / path.name)
        if path.is_dir() and path.name not in SKIPPED_FOLDERS:
            shutil.copytree(
                path, folder / path.name, ignore=shutil.ignore_patterns("*.py", ".*"), dirs_exist_ok=True
            )


def _count_entries(shape: tuple[int, ...]) -> int:
    """The product of the sides."""
    n = 1
    for side in shape:
        n *= side
    return n


class LooseWeights(nn.Module):
    """Tensors without a network, under their own names (dots included)."""

    def __init__(self, bundle: WeightBundle) -> None:
        super().__init__()
        self.names = list(bundle.tensors)
        for name in self.names:
            self.__dict__[name] = bundle.tensors[name].clone()

    def state(self) -> dict[str, torch.Tensor]:
        """Tensors by name."""
        return {name: self.__dict__[name] for name in self.names}


# What a long pruning has finished, a file for each layer, so that an interrupted one goes on where it was.

FOLDER = ".unfinished"


class KeptProgress(PruneProgress):
    """Files in `folder/.unfinished`: masks of every finished layer, weights where more than a mask changed, and whose they
    are.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "job.json"
        if path.is_file() and json.loads(path.read_text()).get("fingerprint") != fingerprint:
            raise UsageError(
                f"'{folder}' holds an unfinished pruning with another model, data or settings.",
                hint="Repeat that command to finish it, or name a new folder with --out.",
            )
        if not path.is_file():
            atomic.write_json(path, {"fingerprint": fingerprint})

    @property
    def n_finished(self) -> int:
        """Blocks that lie there."""
        return len(list(self.folder.glob("*.safetensors")))

    def has(self, block: LayerBlock) -> bool:
        """Whether this block's file is whole: it is written under another name first."""
        return bool(block.maps) and self._file(block).is_file()

    def keep(self, block: LayerBlock, lines: Sequence[PrunedMap]) -> None:
        """Masks of the block, its lines, and the weights that a mask does not give back."""
        if not block.maps:
            return
        moved = {line.name for line in lines if line.moved}
        tensors = {
            f"weight/{linear.name}": _narrow(linear.stored.cpu())
            for linear in block.maps
            if linear.name in moved
        }
        tensors |= {f"keep/{line.name}": torch.from_numpy(line.mask.words.view(np.uint8)) for line in lines}
        stored = [
            [line.name, line.mask.n_bits, line.sparsity, line.relative_error, line.note, line.moved]
            for line in lines
        ]
        with atomic.replace_file(self._file(block)) as path:
            write_tensors(path, tensors, {"lines": json.dumps(stored)})

    def restore(self, block: LayerBlock) -> list[PrunedMap]:
        """Weights back into the model, and the lines as they were."""
        from safetensors import safe_open

        tensors = load_file(self._file(block))
        with safe_open(self._file(block), "pt") as file:
            stored = json.loads(file.metadata()["lines"])
        words = {name: tensors[f"keep/{name}"].numpy().view(np.uint64) for name, *_ in stored}
        lines = [PrunedMap(name, PackedMask(words[name], bits), *rest) for name, bits, *rest in stored]
        keeps = {line.name: line.keep for line in lines}
        with torch.no_grad():
            for linear in block.maps:
                if (kept := tensors.get(f"weight/{linear.name}")) is not None:
                    linear.stored.copy_(kept)
                elif linear.name in keeps:
                    gone = ~keeps[linear.name].to(linear.stored.device)
                    linear.replace(linear.weight.masked_fill(gone, 0))
        return lines

    def clear(self) -> None:
        """The pruning is done, so nothing is left to resume."""
        shutil.rmtree(self.folder)

    def _file(self, block: LayerBlock) -> Path:
        """One file a block."""
        return self.folder / f"{block.name}.safetensors"


def _narrow(weight: Tensor) -> Tensor:
    """In bfloat16 where that loses nothing: what came from it and was only masked takes half of the disk."""
    for rows in (weight[:1], weight):  # one row tells most of the others
        small = rows.to(torch.bfloat16)
        if not torch.equal(small.to(rows.dtype), rows):
            return weight
    return small


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds nothing but what an interrupted pruning left."""
    return (folder / FOLDER / "job.json").is_file()
