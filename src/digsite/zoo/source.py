"""One network of a stored collection: `zoo:NAME#123`, where NAME is a folder or a study that made a zoo.

Also members and whole zoos in formats that need nothing of digsite.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from digsite.base import atomic
from digsite.base.errors import NotFound, UsageError
from digsite.weights.bundle import WeightBundle
from digsite.weights.writer import save_tensors
from digsite.zoo.store import locate_zoo, read_index, read_member
from digsite.zoo.zoo import Zoo


def read(target: str, member: str) -> WeightBundle:
    """`member` may name a checkpoint too: 123@300.

    `target` is the zoo's name or folder.
    """
    number, _, step = member.partition("@")
    if not number.isdigit() or (step and not step.isdigit()):
        raise UsageError(
            f"'zoo:{target}' names no network.", hint=f"Write zoo:{target}#0, or zoo:{target}#0@300."
        )
    folder = locate_zoo(target)
    return read_member(folder, read_index(folder), int(number), int(step) if step else None)


def export_member(zoo: str, member: str, out: Path) -> Path:
    """One network as a safetensors file with its model config as metadata.

    `zoo` and `member` as in `zoo:NAME#123`, `out` a `.safetensors` file.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"'{out}' is no name for a network: it must end in .safetensors.")
    bundle: WeightBundle = read(zoo, member)
    tensors = {name: tensor.contiguous().clone() for name, tensor in bundle.tensors.items()}
    about = {"model": json.dumps(bundle.meta["model"]), "tied": json.dumps(bundle.tied)}
    with atomic.replace_file(out) as path:
        save_tensors(tensors, path, {**about, "zoo": f"{zoo}#{member}"})
    return out


def export_zoo(name: str, out: Path) -> Path:
    """All rows as `params_<architecture>` with their member numbers, and the table as CSV beside it.

    `out` is an `.npz` file, read with numpy alone.
    """
    if out.suffix != ".npz":
        raise UsageError(f"'{out}' is no name for a zoo: it must end in .npz.")
    zoo = Zoo.open(name)
    arrays: dict[str, np.ndarray] = {}
    for number, shape in enumerate(zoo.index.architectures):
        own = [(block, rows) for block, rows in zoo.blocks() if block.architecture == number]
        arrays[f"params_{number}"] = np.concatenate([rows.numpy() for _, rows in own])
        arrays[f"members_{number}"] = np.concatenate([np.arange(b.first, b.first + b.count) for b, _ in own])
        arrays[f"names_{number}"] = np.array(shape.names)
        arrays[f"shapes_{number}"] = np.array([json.dumps(s) for s in shape.shapes])
    with atomic.replace_file(out) as path, path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    with atomic.replace_file(out.with_suffix(".csv")) as path:
        zoo.labels.to_csv(path, index=False)
    return out


# A zoo in a few facts, for people.


def describe_zoo(name: str) -> dict[str, Any]:
    """For `digsite zoo`: sizes and the spread of accuracies."""
    zoo = Zoo.open(name)
    labels, shapes = zoo.labels, zoo.index.architectures
    widths = sorted({shape.width for shape in shapes})
    accuracy = (
        labels["test_accuracy"].quantile([0, 0.25, 0.5, 0.75, 1]) if "test_accuracy" in labels else None
    )
    facts = {
        "zoo": zoo.name,
        "folder": str(zoo.folder),
        "members": len(zoo),
        "architectures": len(shapes),
        "parameters": f"{widths[0]} to {widths[-1]}" if len(widths) > 1 else widths[0],
        "checkpoints": " ".join(map(str, zoo.steps)),
        "files": len({block.shard for block in zoo.index.blocks}),
        "labels": " ".join(column for column in labels if not column.startswith("class_accuracy_")),
    }
    if accuracy is not None:
        facts["test accuracy"] = "least, quarters, best: " + " ".join(f"{value:.3f}" for value in accuracy)
    return facts


def describe_member(name: str, member: str) -> dict[str, Any]:
    """One network's row of the table and its model config."""
    zoo = Zoo.open(name)
    if not member.isdigit() or int(member) >= len(zoo):
        raise NotFound(f"The zoo '{name}' has no member '{member}': it has {len(zoo)}, counted from 0.")
    model = zoo.index.architectures[zoo.index.block_of(int(member)).architecture].model
    return {**zoo.labels.loc[int(member)].to_dict(), "model": model}
