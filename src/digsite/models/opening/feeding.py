"""What a module eats, made from token rows, images or sounds: a dict of named inputs for every family."""

import wave
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import NotFound, UsageError, name_nearest, require_package
from digsite.base.streams import derive_seed
from digsite.models.opening.answering import start_token
from digsite.models.opening.huggingface import one_sentence, quiet_libraries
from digsite.models.opening.opened import Opened
from digsite.weights.sources.local import find_object

# Batches as people have them: a tensor, a dict of tensors, (inputs, labels), a loader of any of these.

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
    """At most `most` rows of a loader, and no more batches than that takes: a loader over a corpus may be
    endless.
    """
    parts: list[Batch] = []
    rows = 0
    for item in loader:
        part = one_batch(item[0] if isinstance(item, tuple | list) and len(item) else item)
        if part is None or (isinstance(part, Tensor) and not part.ndim):
            raise UsageError(f"The loader gives a {type(item).__name__}, which holds no batch of tensors.")
        parts.append(part)
        rows += _count_rows(part)
        if rows >= most:
            break
    if not parts:
        raise UsageError(
            "The data holds no batch.", hint="A generator can be read only once; give a DataLoader."
        )
    return _cut_rows(_join_parts(parts), most)


def _count_rows(part: Batch) -> int:
    """Rows of a batch: of the first entry, where it has several."""
    return len(part) if isinstance(part, Tensor) else len(next(iter(part.values())))


def _cut_rows(batch: Batch, most: int) -> Batch:
    """The first `most` rows of every entry."""
    return batch[:most] if isinstance(batch, Tensor) else {key: value[:most] for key, value in batch.items()}


def _join_parts(parts: list[Batch]) -> Batch:
    """Batches one after the other; of dicts, each key by itself."""
    if all(isinstance(part, Tensor) for part in parts):
        return _stack_tensors([part for part in parts if isinstance(part, Tensor)])
    dicts = [part for part in parts if not isinstance(part, Tensor)]
    if len(dicts) != len(parts) or any(part.keys() != dicts[0].keys() for part in dicts):
        raise UsageError("The batches of the loader do not have the same keys.")
    return {key: _stack_tensors([part[key] for part in dicts]) for key in dicts[0]}


def _stack_tensors(tensors: list[Tensor]) -> Tensor:
    """Rows of token ids (n, tokens) of different lengths are filled up with zeros; other shapes cannot be put
    together.
    """
    if len({t.shape[1:] for t in tensors}) == 1:
        return torch.cat(tensors)
    if any(t.ndim != 2 or t.is_floating_point() for t in tensors):
        shapes = sorted({tuple(t.shape[1:]) for t in tensors})
        raise UsageError(f"The batches have rows of different shapes: {shapes[0]} and {shapes[-1]}.")
    longest = max(t.shape[1] for t in tensors)
    return torch.cat([torch.nn.functional.pad(t, (0, longest - t.shape[1])) for t in tensors])


def _without_answers(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a batch holds beside labels: arrays become tensors, strings and lists are passed over."""
    inputs = {
        str(key): value if isinstance(value, Tensor) else torch.as_tensor(value)
        for key, value in batch.items()
        if key not in ANSWERS and (isinstance(value, Tensor) or type(value).__name__ == "ndarray")
    }
    if not inputs:
        raise UsageError(
            f"The batch has no tensor among {', '.join(map(str, list(batch)[:5])) or 'no keys'}.",
            hint='A tokenizer gives tensors with return_tensors="pt".',
        )
    return inputs


PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
SPOKEN = 8  # tokens of the model's own that a decoder reads where no text was given
MASKED_SHARE = 0.15


def feed_tokens(opened: Opened, rows: Tensor) -> dict[str, Tensor]:
    """Named inputs from token rows (n, tokens), by the model's kind.

    An encoder-decoder reads the first half of a row and its decoder the second, shifted by one as in training. A
    masked model gets the share of masks that it was trained with, at places that depend on the row's place alone.
    """
    if opened.has_decoder:
        half = rows.shape[1] // 2
        return {"input_ids": rows[:, :half], "decoder_input_ids": _shift_right(opened, rows[:, half:])}
    if opened.is_masked:
        return {"input_ids": _mask_tokens(opened, rows)}
    return {"input_ids": rows}


def _shift_right(opened: Opened, rows: Tensor) -> Tensor:
    """What a decoder reads when it is trained: the start token, then each token one place later than it is to
    be written.
    """
    return torch.cat([torch.full((len(rows), 1), start_token(opened.module)), rows[:, :-1]], dim=1)


def _mask_tokens(opened: Opened, rows: Tensor) -> Tensor:
    """The same places in every call: a comparison of two models must not see two maskings."""
    token = getattr(opened.tokenizer, "mask_token_id", None)
    if token is None:
        return rows
    draw = torch.Generator().manual_seed(derive_seed(0, "masked tokens"))
    hidden = torch.rand(rows.shape, generator=draw) < MASKED_SHARE
    return rows.masked_fill(hidden, token)


def feed_images(opened: Opened, images: Tensor) -> dict[str, Tensor]:
    """`pixel_values` from images (n, channels, height, width) in [0, 1]: size, channels and scale as the folder says."""
    config: Any = opened.need_module("be fed").config
    size = _image_size(opened, config)
    channels = int(getattr(config, "num_channels", 3))
    if images.shape[1] != channels:
        images = images.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if tuple(images.shape[2:]) != size:
        images = F.interpolate(images, size=size, mode="bilinear", antialias=False)
    mean, std = (opened.processor.get(key, [0.5] * channels) for key in ("image_mean", "image_std"))
    shape = (1, channels, 1, 1)
    pixels = (images - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)
    return with_decoder(opened, {"pixel_values": pixels.float()})


def _image_size(opened: Opened, config: Any) -> tuple[int, int]:
    """Height and width that the network was made for; preprocessing files say it in three ways."""
    given = getattr(config, "image_size", None) or opened.processor.get("size") or 224
    if isinstance(given, dict):
        given = (
            given.get("height", given.get("shortest_edge", 224)),
            given.get("width", given.get("shortest_edge", 224)),
        )
    return (given, given) if isinstance(given, int) else (int(given[0]), int(given[1]))


def feed_sound(opened: Opened, path: Path) -> dict[str, Tensor]:
    """Features of the `.wav` files of a folder by the folder's own feature extractor, or an array of features."""
    module: Any = opened.need_module("be fed")
    if path.suffix in (".npy", ".npz"):
        return with_decoder(opened, {module.main_input_name: read_arrays(path).float()})
    files = sorted(path.glob("*.wav")) if path.is_dir() else [path]
    if not files or opened.folder is None or not (opened.folder / "preprocessor_config.json").is_file():
        raise UsageError(
            f"'{path}' cannot be turned into what '{opened.reference}' hears.",
            hint="Give a .npy of its input features, or .wav files and a folder with a preprocessor_config.json.",
        )
    transformers = require_package("transformers", extra="hub")
    with quiet_libraries(), one_sentence(f"Reading the sounds of '{path}'"):
        extract = transformers.AutoFeatureExtractor.from_pretrained(
            opened.folder, local_files_only=True, trust_remote_code=False
        )
        sounds = [_read_samples(file) for file in files]
        made = extract(sounds, sampling_rate=extract.sampling_rate, return_tensors="pt", padding=True)
    return with_decoder(opened, {module.main_input_name: made[module.main_input_name].float()})


def _read_samples(path: Path) -> np.ndarray:
    """Samples of a 16-bit `.wav` file in [-1, 1), the channels averaged."""
    with wave.open(str(path)) as file:
        raw = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    return raw.mean(1).astype(np.float32) / 32768


@torch.no_grad()
def with_decoder(opened: Opened, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """For a decoder that was given no text: the tokens that the dense model itself writes, one after the other."""
    module: Any = opened.module
    if not getattr(module.config, "is_encoder_decoder", False):
        return inputs
    n = len(next(iter(inputs.values())))
    ids = torch.full((n, 1), start_token(module))
    with one_sentence(f"Running '{opened.reference}' on its own output"):
        for _ in range(SPOKEN):
            output = module(**inputs, decoder_input_ids=ids, use_cache=False)
            logits = getattr(output, "logits", None)
            if logits is None:
                ids = torch.cat([ids, ids[:, :1]], dim=1)
                continue
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    return {**inputs, "decoder_input_ids": ids}


def read_arrays(path: Path) -> Tensor:
    """The array of a `.npy`, or the first inputs of a `.npz`; ids stay whole numbers."""
    if not path.is_file():
        raise NotFound(f"There is no file '{path}'.")
    with one_sentence(f"Reading '{path}'"):
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return torch.from_numpy(loaded)
        names = [name for name in loaded.files if loaded[name].ndim > 1] or list(loaded.files)
        preferred = [name for name in names if name in ("input_ids", "inputs", "tokens", "ids", "x")] or names
        rows = torch.from_numpy(loaded[preferred[0]])
    return rows.long() if not rows.is_floating_point() else rows


def take_data(opened: Opened, data: str, n: int, seed: int, split: str = "train") -> Batch | None:
    """A batch for anything but text: an image set or folder by name, arrays, sounds, or `py:module:name`.

    None where `data` names none of these, so that it can be a text.
    """
    if data.startswith("py:"):
        return one_batch(_call_factory(find_object(data.removeprefix("py:"))), n)
    path = Path(data).expanduser()
    if path.suffix in (".npy", ".npz"):
        return _feed_arrays(opened, _take_half(read_arrays(path), split)[:n])
    if opened.takes_sound:
        return feed_sound(opened, path)
    if path.is_dir() and any(path.glob(f"*{end}") for end in PICTURES):
        return feed_images(opened, _read_pictures(path, n, opened))
    return _feed_named_images(opened, data, n, seed, split)


def _call_factory(factory: Any) -> Any:
    return factory() if callable(factory) and not isinstance(factory, Tensor | nn.Module) else factory


def _take_half(rows: Tensor, split: str) -> Tensor:
    middle = max(1, len(rows) // 2)
    return rows[:middle] if split == "train" or len(rows) < 2 else rows[middle:]


def _feed_arrays(opened: Opened, rows: Tensor) -> Batch:
    """An array of the user's own as what this kind of model takes; token ids must be whole numbers in rows."""
    if opened.takes_tokens:
        if rows.is_floating_point() or rows.ndim != 2:
            raise UsageError(
                f"'{opened.reference}' takes rows of token ids, and the array is {tuple(rows.shape)} {rows.dtype}."
            )
        return feed_tokens(opened, rows.long())
    if opened.takes_images or opened.takes_sound:
        module: Any = opened.module
        return with_decoder(opened, {module.main_input_name: rows.float()})
    return rows


def _feed_named_images(opened: Opened, data: str, n: int, seed: int, split: str) -> Batch | None:
    """Images of one of our sets in an order that the seed fixes; None where `data` names none and the model may
    take something else.
    """
    from digsite.data import load, names

    if data not in names():
        if opened.takes_images:
            raise UsageError(f"'{data}' is not known as images. {name_nearest(data, names())}")
        return None
    images = load(data)
    x = images.x_train if split == "train" else images.x_test
    order = torch.randperm(
        len(x), generator=torch.Generator().manual_seed(derive_seed(seed, f"calibration/{split}"))
    )
    chosen = x[order[:n]]
    if opened.takes_images:
        return feed_images(opened, chosen)
    return _flatten_for(opened, chosen) if opened.is_own else None


def _flatten_for(opened: Opened, images: Tensor) -> Tensor:
    """Flat where the module begins with a dense layer."""
    module = opened.need_module("be fed")
    first = next((m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)), None)
    return images.flatten(1) if isinstance(first, nn.Linear) else images


def _read_pictures(folder: Path, n: int, opened: Opened) -> Tensor:
    """The first `n` picture files of a folder by name, (n, 3, height, width) in [0, 1], in the size that the
    model wants.
    """
    images = require_package("PIL.Image", extra="hub")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)[:n]
    size = _image_size(opened, opened.need_module("be fed").config)
    with one_sentence(f"Reading the pictures of '{folder}'"):
        arrays = [
            np.asarray(images.open(f).convert("RGB").resize(size[::-1]), np.float32) / 255 for f in files
        ]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
