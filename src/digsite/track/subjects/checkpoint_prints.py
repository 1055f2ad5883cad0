"""What is read of a stored checkpoint without loading it: headers, side files, and a few thousand sampled weights.

A series of 150 checkpoints of 1 GB is 150 GB, and nobody needs it to see that two of them are the same. The positions to read
are drawn once per tensor from its name, so that every checkpoint is read at the same places; files are memory-mapped, so
only the pages that hold those places are touched.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError, Unreachable
from digsite.base.streams import derive_seed
from digsite.weights import WeightBundle, parse_reference, read_weights
from digsite.weights.bundle import LazyTensors

BLOCK = 32  # neighboring values read together: one page of the file serves them all
TOTAL = 24_576  # sampled values of a checkpoint; 150 checkpoints keep 15 MB
LEAST = 64  # of each tensor, where it has so many
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model")
# Said by the reader of the file and not by who trained: no fact about the run.
READER_FACTS = ("path", "reference", "format", "files", "inside", "skipped")
UNREACHABLE = 2  # references in a row that a hub does not answer, after which it is not asked again


@dataclass(frozen=True)
class CheckpointPrint:
    """One checkpoint as the audit sees it; `problem` says why there is nothing else.

    `values` are sampled weights by tensor, `counters` are integer scalars that count steps, `facts` are what the file
    and its neighbors in the folder say in words (config, tokenizer, trainer state), flattened to dotted names.
    """

    step: int
    name: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    counters: dict[str, int] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""


def read_prints(checkpoints: Iterable[tuple[int, str | Path]]) -> Iterator[CheckpointPrint]:
    """One print per (step, path or reference), one file open at a time.

    A checkpoint that cannot be read is a print with a problem, not an end: what is there is used. A hub that fails for
    UNREACHABLE references in a row is not asked for the rest, so that a dead connection costs two waits and not a hundred.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    silent = 0
    for step, source in checkpoints:
        remote = isinstance(source, str) and source.startswith(("hub:", "wandb:"))
        if remote and silent >= UNREACHABLE:
            yield CheckpointPrint(
                step, str(source), problem="was not asked for: the hub had stopped answering"
            )
            continue
        try:
            bundle = read_weights(source if isinstance(source, str) else f"file:{source}")
            silent = 0
            yield take_print(step, str(source), bundle, places)
        except DigsiteError as error:
            silent = silent + 1 if isinstance(error, Unreachable) else 0
            yield CheckpointPrint(step, str(source), problem=error.message.rstrip("."))


def take_print(
    step: int, name: str, bundle: WeightBundle, places: dict[str, list[tuple[int, int]]]
) -> CheckpointPrint:
    """The print of an open bundle; `places` remembers the positions drawn for each tensor of the series.

    step: the training step its name says. name: how to call it in a sentence. bundle: its tensors, lazily.
    """
    shapes = {key: bundle.shape(key) for key in bundle.tensors}
    share = max(TOTAL // max(len(shapes), 1), LEAST)
    values, dtypes, counters = {}, {}, {}
    for key, shape in shapes.items():
        kind, read = _tensor_reader(bundle, key)
        dtypes[key] = kind
        size = prod(shape)
        if not kind.lower().startswith(("f", "bf")):
            if size == 1:
                counters[key] = int(read([(0, 1)])[0])
            continue
        place_key = f"{key}{shape}"
        if place_key not in places:
            places[place_key] = draw_places(place_key, size, share)
        values[key] = read(places[place_key]).float().numpy()
    return CheckpointPrint(step, name, shapes, dtypes, values, counters, _stated_facts(bundle.meta))


def draw_places(key: str, size: int, share: int) -> list[tuple[int, int]]:
    """Ranges [start, stop) to read of a tensor with `size` values, `share` values in all, spread over its length.

    Blocks lie in equal strata, each at a place drawn from the tensor's name: rows of every part are seen, and no period
    of the layout can hide from the grid.
    """
    if size <= share:
        return [(0, size)]
    count = max(share // BLOCK, 1)
    rng = np.random.default_rng(derive_seed(0, f"places/{key}"))
    edges = np.linspace(0, size, count + 1).astype(np.int64)
    starts = [int(rng.integers(a, max(b - BLOCK, a) + 1)) for a, b in itertools.pairwise(edges)]
    return [(start, min(start + BLOCK, size)) for start in starts]


def _tensor_reader(
    bundle: WeightBundle, key: str
) -> tuple[str, Callable[[Sequence[tuple[int, int]]], Tensor]]:
    """Type of a tensor and how to read some of its values: by bytes where the format can, else from the mapped tensor."""
    tensors = bundle.tensors
    if isinstance(tensors, LazyTensors) and (ranges := tensors.stored[key].ranges) is not None:
        return tensors.stored[key].dtype, ranges
    tensor = tensors[key].detach()
    flat = tensor.reshape(-1)
    return str(tensor.dtype).removeprefix("torch."), lambda places: torch.cat([flat[a:b] for a, b in places])


def _stated_facts(meta: Mapping[str, Any]) -> dict[str, str]:
    """Everything said in words about the checkpoint: header, config, tokenizer and trainer state beside it."""
    said = {key: value for key, value in meta.items() if key not in READER_FACTS}
    folder = Path(str(meta.get("path", "")))
    facts = dict(_flatten_facts("", said))
    if folder.is_dir():
        for name in TOKENIZERS:
            if (folder / name).is_file():
                facts[f"tokenizer.{name}"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()[:12]
        facts |= _trainer_state(folder / "trainer_state.json")
    return facts


def _trainer_state(path: Path) -> dict[str, str]:
    """Step and last learning rate as the trainer of `transformers` writes them."""
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    rates = [row["learning_rate"] for row in state.get("log_history", []) if "learning_rate" in row]
    facts = {"global_step": str(state["global_step"])} if "global_step" in state else {}
    return facts | ({"learning_rate": str(rates[-1])} if rates else {})


def _flatten_facts(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Nested settings by dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten_facts(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, str(value)


def step_of_reference(reference: str) -> int | None:
    """The last number of a reference's revision, member or name: `hub:org/model@step1000` is step 1000."""
    parsed = parse_reference(reference)
    tail = parsed.member or parsed.target.rpartition("@")[2] or parsed.target
    numbers = re.findall(r"\d+", Path(tail).stem if parsed.is_file else tail)
    return int(numbers[-1]) if numbers else None
