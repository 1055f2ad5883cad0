"""Batches as people have them: a tensor, a dict of tensors, (inputs, labels), a loader of any of these."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError

MOST_ROWS = 256  # of a loader: calibration wants no more
ANSWERS = ("labels", "label", "targets", "target")  # what a batch says about its rows is not an input

Batch = Tensor | dict[str, Tensor]


def one_batch(data: Any, most: int = MOST_ROWS) -> Batch | None:
    """One batch of at most `most` rows from a tensor, a dict, an array, (inputs, labels) or an iterable of these.

    A tensor or a dict is one batch already and is taken whole. Batches of a loader that were padded to different
    lengths are padded to the longest, with zeros, so that a mask stays a mask.
    """
    if data is None or isinstance(data, Tensor):
        return data
    if isinstance(data, Mapping):
        return _without_answers(data)
    if type(data).__name__ == "ndarray":
        return torch.from_numpy(data)
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise UsageError(
            f"A {type(data).__name__} is no batch.",
            hint="Accepted: a tensor, a dict of tensors, an array, or a DataLoader of these.",
        )
    if isinstance(data, tuple) and data and isinstance(data[0], Tensor):
        return data[0]
    return _first_rows(data, most)


def _first_rows(loader: Iterable[Any], most: int) -> Batch:
    parts: list[Batch] = []
    rows = 0
    for item in loader:
        part = one_batch(item[0] if isinstance(item, tuple | list) and len(item) else item)
        if part is None or (isinstance(part, Tensor) and not part.ndim):
            raise UsageError(f"The loader gives a {type(item).__name__}, which holds no batch of tensors.")
        parts.append(part)
        rows += _n_rows(part)
        if rows >= most:
            break
    if not parts:
        raise UsageError(
            "The data holds no batch.", hint="A generator can be read only once; give a DataLoader."
        )
    return _cut(_joined(parts), most)


def _n_rows(part: Batch) -> int:
    return len(part) if isinstance(part, Tensor) else len(next(iter(part.values())))


def _cut(batch: Batch, most: int) -> Batch:
    return batch[:most] if isinstance(batch, Tensor) else {key: value[:most] for key, value in batch.items()}


def _joined(parts: list[Batch]) -> Batch:
    if all(isinstance(part, Tensor) for part in parts):
        return _stack([part for part in parts if isinstance(part, Tensor)])
    dicts = [part for part in parts if not isinstance(part, Tensor)]
    if len(dicts) != len(parts) or any(part.keys() != dicts[0].keys() for part in dicts):
        raise UsageError("The batches of the loader do not have the same keys.")
    return {key: _stack([part[key] for part in dicts]) for key in dicts[0]}


def _stack(tensors: list[Tensor]) -> Tensor:
    if len({t.shape[1:] for t in tensors}) == 1:
        return torch.cat(tensors)
    if any(t.ndim != 2 or t.is_floating_point() for t in tensors):
        shapes = sorted({tuple(t.shape[1:]) for t in tensors})
        raise UsageError(f"The batches have rows of different shapes: {shapes[0]} and {shapes[-1]}.")
    longest = max(t.shape[1] for t in tensors)
    return torch.cat([torch.nn.functional.pad(t, (0, longest - t.shape[1])) for t in tensors])


def _without_answers(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    found = {
        str(key): value if isinstance(value, Tensor) else torch.as_tensor(value)
        for key, value in batch.items()
        if key not in ANSWERS and (isinstance(value, Tensor) or type(value).__name__ == "ndarray")
    }
    if not found:
        raise UsageError(
            f"The batch has no tensor among {', '.join(map(str, list(batch)[:5])) or 'no keys'}.",
            hint='A tokenizer gives tensors with return_tensors="pt".',
        )
    return found
