"""Networks as lineage sees them: weights alone, under plain names, buffers set aside; one model or a folder of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.weights import read_weights
from digsite.weights.bundle import LazyTensors, dtype_of, is_large, read_apart, shape_of

# Statistics of activations, counters, masks and tables that follow from the architecture: none of them is a weight.
_BUFFERS = re.compile(
    r"(running_mean|running_var|moving_mean|moving_variance|num_batches_tracked|inv_freq|freqs_cis|position_ids|token_type_ids"
    r"|masked_bias|causal_mask|relative_position_index)$"
)
_PIECE = 1 << 21  # numbers that are looked at at once
_WRAPPERS = ("module.", "_orig_mod.", "model.", "transformer.", "net.", "network.", "backbone.")


@dataclass(frozen=True)
class Network:
    """`weights` are float32 on the CPU, of a large model left in its file and read one at a time; `counters` are integers
    that training counts up; `stored` names the dtype.
    """

    name: str
    weights: Mapping[str, Tensor]
    counters: dict[str, int] = field(default_factory=dict)
    buffers: tuple[str, ...] = ()
    stored: str = "float32"
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(prod(self.shape(name)) for name in self.weights)

    @property
    def matrices(self) -> list[str]:
        """Names of the tensors with two axes or more, in stored order: the others have no hidden axis to test along."""
        return [name for name in self.weights if len(self.shape(name)) > 1]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one of the weights, which is not read for it."""
        return shape_of(self.weights, name)


def network_of(name: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Network:
    """Sort the tensors of a file into weights, counters and buffers.

    `tensors` may be lazy: each is read here once, and those of a large model again by whoever asks. Weights that are not
    finite are refused by name, because every distance to them is not a number.
    """
    weights: dict[str, Any] = {}
    stays = isinstance(tensors, LazyTensors) and is_large(tensors)
    floats = {key for key in tensors if (kind := dtype_of(tensors, key)) and kind.is_floating_point}
    counters: dict[str, int] = {}
    buffers, kinds = [], []
    for key in tensors:
        value = (tensors.read_floats(key) if stays and key in floats else read_apart(tensors, key)).detach()
        if key.endswith("num_batches_tracked"):
            counters[key] = int(value)
        elif (
            _BUFFERS.search(key)
            or not value.is_floating_point()
            or value.ndim == 0
            or _is_fixed_table(key, value)
        ):
            buffers.append(key)
        else:
            kinds.append(str(dtype_of(tensors, key) or value.dtype).removeprefix("torch."))
            value = value.to("cpu", torch.float32)
            refuse_not_finite(name, key, value)
            weights[key] = tensors.derive(key, _as_it_is) if stays else value
        del value  # before the next is read: two at once would be twice the largest
    if not any(len(t.shape) > 1 for t in weights.values()):
        raise UsageError(f"'{name}' holds no weight matrix, so its descent cannot be read.")
    stored = max(set(kinds), key=kinds.count)
    weights = _take_off_wrappers(weights)
    kept = LazyTensors(weights) if stays else weights
    return Network(name, kept, counters, tuple(buffers), stored, dict(config or {}))


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def is_weight(key: str, value: Tensor) -> bool:
    """False for statistics, counters, masks and fixed tables, which say nothing about descent."""
    floating = value.is_floating_point() and value.ndim > 0
    return floating and not _BUFFERS.search(key) and not _is_fixed_table(key, value)


def refuse_not_finite(name: str, key: str, value: Tensor) -> None:
    """One sentence for a tensor that holds values that are not finite."""
    bad = value.numel() - sum(int(torch.isfinite(part).sum()) for part in value.flatten().split(_PIECE))
    if bad:
        raise UsageError(
            f"'{name}' holds {bad} values in {key!r} that are NaN or infinite: its distances mean nothing.",
            hint="Drop this file, or take an earlier checkpoint.",
        )


def _is_fixed_table(key: str, value: Tensor) -> bool:
    """Masks of zeros and ones, and sinusoids of positions: the same in every network of the architecture."""
    if value.ndim < 2:
        return False
    if value.ndim == 4 and re.search(r"(^|\.)(attn|attention)\.bias$", key):  # the causal mask of GPT-2
        return True
    if "mask" in key and bool(((value == 0) | (value == 1)).all()):
        return True
    if value.ndim not in (2, 3) or "pos" not in key:
        return False
    table = value.reshape(-1, value.shape[-1]).float()
    norms = table.square().sum(1)
    return bool((norms - table.shape[1] / 2).abs().max() < 1e-3 * table.shape[1])


def _take_off_wrappers(weights: dict[str, Any]) -> dict[str, Any]:
    """Prefixes of wrappers (`module.`, `model.` ...) taken off while all names begin with one of them."""
    while True:
        prefix = next((w for w in _WRAPPERS if all(k.startswith(w) for k in weights)), None)
        if prefix is None:
            return weights
        weights = {k.removeprefix(prefix): t for k, t in weights.items()}


def pair_names(first: Network, second: Network) -> dict[str, str]:
    """Which tensor of `second` stands for which of `first`.

    By name and shape, else by the end of names (one file wraps the other's module), else by an equal order of shapes.
    """
    same = {k: k for k in first.weights if k in second.weights and second.shape(k) == first.shape(k)}
    if same:
        return same
    for asked, other, swap in ((first, second, False), (second, first, True)):
        ends: dict[str, str] = {}
        for k in asked.weights:
            candidates = [
                j for j in other.weights if j.endswith("." + k) and other.shape(j) == asked.shape(k)
            ]
            if len(candidates) == 1:
                ends[k] = candidates[0]
        if len(ends) > len(asked.weights) / 2:
            return {v: k for k, v in ends.items()} if swap else ends
    shapes = [[n.shape(k) for k in n.weights] for n in (first, second)]
    return dict(zip(first.weights, second.weights)) if shapes[0] == shapes[1] else {}


# All models of a folder as networks, and every entry that was left out with the reason.

# Beside models lie notes, configs and pictures: they are no failures and are not listed.
_SILENT = {
    ".json",
    ".md",
    ".txt",
    ".csv",
    ".png",
    ".svg",
    ".yaml",
    ".yml",
    ".html",
    ".py",
    ".pdf",
    ".jinja",
    "",
}


@dataclass(frozen=True)
class ModelFolder:
    """`left_out` has (entry, reason) for everything that looked like a model and could not be read."""

    networks: list[Network]
    left_out: list[tuple[str, str]]


def read_networks(folder: Path, least: int = 2) -> ModelFolder:
    """Files, and folders that hold one model each, in the order of their names; fewer than `least` are refused.

    What looked like a model and could not be read is listed with its reason, and the others are read.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder '{folder}'.")
    models = ModelFolder([], [])
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (path.is_file() and path.suffix.lower() in _SILENT):
            continue
        try:
            bundle = read_weights(f"file:{path}")
            name = path.stem if path.is_file() else path.name
            models.networks.append(network_of(name, bundle.tensors, bundle.meta.get("config")))
        except DigsiteError as error:
            if path.is_file() or any(path.glob("*.safetensors")) or any(path.glob("*.bin")):
                models.left_out.append((path.name, str(error)))
    if len(models.networks) < least:
        reasons = f" ({models.left_out[0][0]}: {models.left_out[0][1]})" if models.left_out else ""
        count = len(models.networks)
        raise UsageError(
            f"'{folder}' holds {count or 'no'} model{'' if count == 1 else 's'}{reasons}; {'a lineage needs at least two' if least > 1 else 'at least one is needed'}.",
            hint="Put the models to compare into one folder: files, or one folder for each.",
        )
    return models
