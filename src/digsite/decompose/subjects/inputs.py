"""Inputs for a model by name: an image set, random numbers, a file of rows, or a function of your own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.data import text
from digsite.decompose.core.fit import Sampler
from digsite.models.opening import Opened, one_batch, one_sentence, quiet_libraries, take_data
from digsite.weights.sources.local import find_object

MAIN_INPUTS = ("input_ids", "pixel_values", "input_features", "input_values", "inputs", "x")
TEXT = "text:"
LONGEST = 64  # tokens of a row where the model's context is longer
MOST_ROWS = 4096


def sample_opened(name: str, opened: Opened, model: nn.Module, batch: int) -> Sampler:
    """Inputs for a model that was opened by reference: also `text:CORPUS` for what reads tokens, and images in the
    size, the channels and the scale that its folder asks for.
    """
    if name.startswith(TEXT):
        return make_sampler(read_text_rows(name.removeprefix(TEXT), opened), batch)
    if opened.takes_tokens and not name.endswith(".npy") and not name.startswith("py:"):
        raise UsageError(
            f"'{opened.reference}' reads token ids, and '{name}' is none.",
            hint="Give --text CORPUS-OR-FILE, or --data ids.npy.",
        )
    if (opened.takes_images or opened.takes_sound) and not name.startswith("py:"):
        taken = take_data(opened, name, MOST_ROWS, 0)
        if not isinstance(taken, dict):
            raise UsageError(
                f"'{name}' is not what '{opened.reference}' takes.", hint="Give --data FILE.npy or images."
            )
        return make_sampler(next(iter(taken.values())), batch)
    return sample_named(name, model, batch)


def read_text_rows(corpus: str, opened: Opened) -> Tensor:
    """Rows of token ids from a corpus or a text file, by the model's own tokenizer."""
    if not opened.takes_tokens:
        raise UsageError(f"'{opened.reference}' reads no text.", hint="Give --data instead of --text.")
    if opened.tokenizer is None:
        raise UsageError(
            f"'{opened.reference}' has no tokenizer, so no text can be turned into what it reads.",
            hint="Put its tokenizer into the folder, or give token ids: --data ids.npy.",
        )
    with quiet_libraries():
        rows = text.cut_windows(text.read_documents(corpus), opened.tokenizer, min(opened.context, LONGEST))
    return rows[:MOST_ROWS]


def sample_named(name: str, model: nn.Module, batch: int) -> Sampler:
    """`gaussian`, `uniform`, `digits` and other image sets, `x.npy`, or `py:module:name` (a tensor or a function)."""
    if name in ("gaussian", "uniform"):
        return sample_random(name, find_width(model), batch)
    if name.startswith("py:"):
        return make_sampler(find_own_data(name.removeprefix("py:")), batch)
    if name.endswith(".npy"):
        return make_sampler(load_rows(Path(name)), batch)
    return make_sampler(load_images(name, model), batch)


def sample_random(name: str, width: int, batch: int) -> Sampler:
    """Rows of normal or uniform numbers."""
    draw = torch.randn if name == "gaussian" else torch.rand
    return lambda generator: draw(batch, width, generator=generator)


def find_width(model: nn.Module) -> int:
    """What the first dense layer reads."""
    first = next((m for m in model.modules() if isinstance(m, nn.Linear)), None)
    if first is None:
        raise UsageError(
            "Random inputs are for models that begin with a dense layer.",
            hint="Name the data, for example data=mnist.",
        )
    return first.in_features


def find_own_data(target: str) -> object:
    """A tensor, or a function that one generator is enough for."""
    value = find_object(target)
    if callable(value):
        try:
            signature(value).bind(torch.Generator())
        except TypeError as error:
            raise UsageError(
                f"The function 'py:{target}' cannot be called with one argument: {error}.",
                hint="It gets a torch.Generator and gives a batch of inputs.",
            ) from None
    return value


def load_rows(path: Path) -> Tensor:
    """A table of a `.npy` file, without pickles."""
    if not path.is_file():
        raise NotFound(f"There is no file '{path}'.")
    with one_sentence(f"Reading '{path}'"):
        rows = np.load(path, allow_pickle=False)
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiub" or not rows.size:
        raise UsageError(f"'{path}' holds no table of numbers.")
    rows = torch.from_numpy(rows)
    return rows.float() if rows.is_floating_point() else rows.long()


def load_images(name: str, model: nn.Module) -> Tensor:
    """Flat where the model begins with a dense layer."""
    from digsite.data import load, names

    if name not in names():
        raise UsageError(
            f"'{name}' is not known as data. {name_nearest(name, [*names(), 'gaussian', 'uniform'])}"
        )
    x = load(name).x_train
    first = next(m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d))
    return x.flatten(1) if isinstance(first, nn.Linear) else x


def make_sampler(data: Any, batch: int) -> Sampler:
    """A function from a generator to one batch."""
    if isinstance(data, Mapping):
        data = pick_inputs(data)
    if isinstance(data, Tensor):
        return lambda generator: data[torch.randint(len(data), (min(batch, len(data)),), generator=generator)]
    if callable(data):
        return cast("Sampler", data)
    if isinstance(data, Sequence) and data:
        return lambda generator: pick_inputs(data[int(torch.randint(len(data), (), generator=generator))])
    if isinstance(data, Iterable):
        stream = repeat_endlessly(data)
        return lambda generator: pick_inputs(next(stream))
    raise UsageError(
        f"data is a {type(data).__name__}.",
        hint="Give a tensor, an iterable of batches, or a function of a generator.",
    )


def repeat_endlessly(data: Iterable[Any]) -> Iterator[Any]:
    """Start again at the end, as a loader does each epoch."""
    while True:
        empty = True
        for item in data:
            empty = False
            yield item
        if empty:
            raise UsageError(
                "The data ended: it can be read only once, or holds no batch.",
                hint="Give a list or a DataLoader.",
            )


def pick_inputs(item: Any) -> Tensor:
    """Loaders give tensors, (inputs, labels), or dictionaries of a tokenizer or an image processor."""
    if not isinstance(item, Mapping):
        return item[0] if isinstance(item, tuple | list) else item
    batch = one_batch(item)
    assert isinstance(batch, dict)
    mask = batch.get("attention_mask")
    if mask is not None and not bool(mask.all()):
        raise UsageError(
            "The batch is padded, and parts must be learned on rows without padding.",
            hint="Give rows of one length: tokenizer(..., truncation=True, max_length=N) on texts of at least N tokens.",
        )
    return next((batch[key] for key in MAIN_INPUTS if key in batch), next(iter(batch.values())))
