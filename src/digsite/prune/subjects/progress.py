"""What a long pruning has finished, a file for each layer, so that an interrupted one goes on where it was."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from digsite.base import atomic
from digsite.base.errors import UsageError
from digsite.prune.core.layers import Block
from digsite.prune.core.model import Progress, PrunedMap
from digsite.prune.core.packed import pack

FOLDER = ".unfinished"


class KeptProgress(Progress):
    """Files in `folder/.unfinished`: the weights and masks of every finished layer, and whose they are."""

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
        return len(list(self.folder.glob("*.safetensors")))

    def has(self, block: Block) -> bool:
        return bool(block.maps) and self._file(block).is_file()

    def keep(self, block: Block, lines: Sequence[PrunedMap]) -> None:
        if not block.maps:
            return
        tensors: dict[str, Tensor] = {
            f"weight/{one.name}": one.stored.contiguous().clone() for one in block.maps
        }
        tensors |= {f"keep/{line.name}": line.keep.clone() for line in lines}
        told = [[line.name, line.sparsity, line.relative_error, line.note] for line in lines]
        with atomic.replace_file(self._file(block)) as path:
            save_file(tensors, path, {"lines": json.dumps(told)})

    def restore(self, block: Block) -> list[PrunedMap]:
        from safetensors import safe_open

        tensors = load_file(self._file(block))
        with safe_open(self._file(block), "pt") as file:
            told = json.loads(file.metadata()["lines"])
        with torch.no_grad():
            for one in block.maps:
                one.stored.copy_(tensors[f"weight/{one.name}"])
        return [PrunedMap(name, pack(tensors[f"keep/{name}"].numpy()), *rest) for name, *rest in told]

    def clear(self) -> None:
        shutil.rmtree(self.folder)

    def _file(self, block: Block) -> Path:
        return self.folder / f"{block.name}.safetensors"


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds nothing but what an interrupted pruning left."""
    return (folder / FOLDER / "job.json").is_file()
