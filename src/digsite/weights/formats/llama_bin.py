"""The raw `.bin` of llama2.c: seven integers, then all float32 arrays in a fixed order.

The format has no magic number, so a file counts as one when its seven sizes make sense and its length is
exactly what they promise. A negative vocabulary size says that the output map is a matrix of its own.
"""

from pathlib import Path

import numpy as np
import torch

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import WeightBundle
from digsite.weights.formats import Format

FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len")
HEADER_BYTES = 28


class LlamaBin(Format):
    """The raw `.bin` of llama2.c: seven integers, then all float32 arrays in a fixed order."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        if not path.is_file() or path.stat().st_size < HEADER_BYTES or path.suffix != ".bin":
            return False
        header = _read_sizes(path)
        sane = all(0 < abs(value) < 2**20 for value in header.values())
        return sane and header["dim"] % header["n_heads"] == 0

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        config = _read_sizes(path)
        shared, config["vocab_size"] = config["vocab_size"] > 0, abs(config["vocab_size"])
        size = 2 * config["max_seq_len"] * (config["dim"] // config["n_heads"] // 2)
        layers, top = _list_shapes(config)
        head = {} if shared else {"output.weight": (config["vocab_size"], config["dim"])}
        n_layers = config["n_layers"]
        n_values = (
            n_layers * sum(map(_count_values, layers.values()))
            + sum(map(_count_values, (*top.values(), *head.values())))
            + size
        )
        if path.stat().st_size != HEADER_BYTES + 4 * n_values:
            raise DigsiteError(
                f"'{path}' is damaged: its header promises {HEADER_BYTES + 4 * n_values} bytes, "
                f"it has {path.stat().st_size}."
            )
        values = np.memmap(path, "<f4", "c", HEADER_BYTES)  # copy on write: changes never reach the file
        order = [("tok_embeddings.weight", top["tok_embeddings.weight"])]
        order += [(f"layers.{i}.{name}", shape) for name, shape in layers.items() for i in range(n_layers)]
        order += [("norm.weight", top["norm.weight"]), ("", (size,)), *head.items()]
        tensors, start = {}, 0
        for name, shape in order:
            tensors[name] = torch.from_numpy(values[start : start + _count_values(shape)].reshape(shape))
            start += _count_values(shape)
        del tensors[""]  # the rotary tables, which follow from the sizes
        tied = {"output.weight": "tok_embeddings.weight"} if shared else {}
        return WeightBundle(tensors, {"format": "llama2.c", **config}, tied)


def _read_sizes(path: Path) -> dict[str, int]:
    """The header by name."""
    return dict(zip(FIELDS, np.fromfile(path, "<i4", len(FIELDS)).tolist()))


def _list_shapes(config: dict[str, int]) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Shapes of the arrays of each layer in file order, and of the others."""
    d, h = config["dim"], config["hidden_dim"]
    kv = d // config["n_heads"] * config["n_kv_heads"]
    attention = {
        "attention_norm": (d,),
        "attention.wq": (d, d),
        "attention.wk": (kv, d),
        "attention.wv": (kv, d),
    }
    forward = {"feed_forward.w1": (h, d), "feed_forward.w2": (d, h), "feed_forward.w3": (h, d)}
    layer = {**attention, "attention.wo": (d, d), "ffn_norm": (d,), **forward}
    top = {"tok_embeddings.weight": (config["vocab_size"], d), "norm.weight": (d,)}
    return {f"{name}.weight": shape for name, shape in layer.items()}, top


def _count_values(shape: tuple[int, ...]) -> int:
    """The product of the sides."""
    return int(np.prod(shape))
