"""GGUF files of llama.cpp: quantized blocks are turned back into numbers when a tensor is asked for.

A block holds 32 numbers with one scale, or 256 with a scale of scales (the K kinds): value = scale * q -
minimum. Layouts are those of ggml's `dequantize_row_*`; the tests compare with llama.cpp's own Python package.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import LazyTensors, StoredTensor, WeightBundle, mark_unread
from digsite.weights.formats import Format

MAGIC = b"GGUF"
NUMBERS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
TEXT, LIST = 8, 9  # the other two codes of a setting's type
MOST_ENTRIES = 1 << 20
MOST_TEXT = 1 << 24
KEPT = 64  # entries of an array in the metadata that are kept; vocabularies are not weights


class Gguf(Format):
    """GGUF files of llama.cpp: quantized blocks are turned back into numbers when a tensor is asked for."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == MAGIC

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        """Tensors in Hugging Face's names where the architecture is known, else in the file's own."""
        with path.open("rb") as file:
            meta, table = _read_header(file, path)
            base = file.tell()
        step = int(meta.get("general.alignment", 32)) or 32
        base += -base % step
        size = path.stat().st_size
        stored: dict[str, StoredTensor] = {}
        left: dict[str, dict[str, Any]] = {}
        for name, (shape, kind, offset) in table.items():
            if kind not in BLOCKS:
                left[name] = mark_unread(f"quantization kind {kind} of GGUF is not known", shape)
                continue
            nbytes = block_bytes(kind, shape)
            if base + offset + nbytes > size:
                raise DigsiteError(
                    f"'{path}' is cut short: '{name}' ends at byte {base + offset + nbytes} of {size}."
                )
            stored[name] = StoredTensor(
                shape, "float32", partial(_load_blocks, path, base + offset, nbytes, kind, shape)
            )
        stored, config = as_hugging_face(stored, meta)
        kinds = sorted({BLOCKS[kind].name for _, kind, _ in table.values() if kind in BLOCKS})
        own = {
            "format": "gguf",
            "kinds": kinds,
            "unread": left,
            "has_tokenizer": "tokenizer.ggml.tokens" in meta,
            **({"config": config} if config else {}),
        }
        tied = (
            {"lm_head.weight": "model.embed_tokens.weight"}
            if config and config["tie_word_embeddings"]
            else {}
        )
        return WeightBundle(LazyTensors(stored), own, tied)


def _load_blocks(path: Path, start: int, nbytes: int, kind: int, shape: tuple[int, ...]) -> Tensor:
    """One tensor from its place in the file."""
    with path.open("rb") as file:
        file.seek(start)
        return torch.from_numpy(_decode_file(file, nbytes, kind).reshape(shape))


def _read_header(
    file: BinaryIO, path: Path
) -> tuple[dict[str, Any], dict[str, tuple[tuple[int, ...], int, int]]]:
    """Settings by key, and (shape, kind, place) of every tensor. GGUF lists the fastest axis first, so shapes
    are turned round.
    """
    file.seek(4)
    version = _read_number(file, 4)
    if version not in (2, 3):
        raise DigsiteError(f"'{path}' is GGUF version {version}; versions 2 and 3 are read.")
    n_tensors, n_values = _read_number(file, 10), _read_number(file, 10)
    if max(n_tensors, n_values) > MOST_ENTRIES:
        raise DigsiteError(f"'{path}' is damaged: it promises {n_tensors} tensors and {n_values} settings.")
    meta = {}
    for _ in range(n_values):
        key = _read_text(file)
        meta[key] = _read_value(file, _read_number(file, 4))
    table = {}
    for _ in range(n_tensors):
        name = _read_text(file)
        n_sides = _read_number(file, 4)
        if n_sides > 8:
            raise DigsiteError(f"'{path}' is damaged: '{name}' has {n_sides} sides.")
        sides = [_read_number(file, 10) for _ in range(n_sides)]
        table[name] = (tuple(reversed(sides)), _read_number(file, 4), _read_number(file, 10))
    return meta, table


def _read_number(file: BinaryIO, kind: int) -> Any:
    form = NUMBERS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _read_text(file: BinaryIO) -> str:
    size = _read_number(file, 10)
    if size > MOST_TEXT:
        raise DigsiteError(f"The file is damaged: it promises a text of {size} bytes.")
    return file.read(size).decode(errors="replace")


def _read_value(file: BinaryIO, code: int) -> Any:
    if code == TEXT:
        return _read_text(file)
    if code != LIST:
        if code not in NUMBERS:
            raise DigsiteError(f"The file is damaged: it has a setting of kind {code}.")
        return _read_number(file, code)
    inner, count = _read_number(file, 4), _read_number(file, 10)
    if count > MOST_TEXT:
        raise DigsiteError(f"The file is damaged: it promises a list of {count} entries.")
    values = []
    for position in range(count):
        value = _read_value(file, inner)
        if position < KEPT:
            values.append(value)
    return values


# Quantized blocks of GGUF: 32 or 256 numbers share a scale, and are turned back into float32.

# Numbers that are read and decoded at once. Pieces of many megabytes would stay with the process: an allocator that has
# once given back a large piece of memory keeps as much for the next.
PIECE = 1 << 18
Rows = UInt8[np.ndarray, "blocks bytes"]
Numbers = Float[np.ndarray, "blocks numbers"]


@dataclass(frozen=True)
class QuantBlock:
    """`count` numbers lie in `nbytes` bytes."""

    name: str
    count: int
    nbytes: int
    decode: Callable[[Rows], np.ndarray]


def dequantize_blocks(raw: bytes, kind: int) -> Float[np.ndarray, "numbers"]:
    """All numbers of a tensor from its bytes."""
    return _decode_file(BytesIO(raw), len(raw), kind)


def _decode_file(file: BinaryIO, nbytes: int, kind: int) -> Float[np.ndarray, "numbers"]:
    """The numbers in the next `nbytes`, some at a time: decoding takes several times the memory of what it makes."""
    block = BLOCKS[kind]
    total, size = nbytes // block.nbytes, max(1, PIECE // block.count)
    numbers = np.empty((total, block.count), np.float32)
    for at in range(0, total, size):
        raw = file.read(min(size, total - at) * block.nbytes)
        numbers[at : at + size] = block.decode(np.frombuffer(raw, np.uint8).reshape(-1, block.nbytes))
    return numbers.reshape(-1)


def block_bytes(kind: int, shape: tuple[int, ...]) -> int:
    """How many bytes a tensor of this shape takes."""
    block, n = BLOCKS[kind], 1
    for side in shape:
        n *= side
    return -(-n // block.count) * block.nbytes


def _read_half(rows: Rows, start: int) -> np.ndarray:
    """One 16-bit float of every block."""
    return rows[:, start : start + 2].copy().view("<f2").astype(np.float32)


def _split_nibbles(rows: Rows, start: int, stop: int) -> np.ndarray:
    """Low halves of all bytes, then their high halves."""
    part = rows[:, start:stop]
    return np.concatenate([part & 15, part >> 4], axis=1).astype(np.float32)


def _fifth_bits(rows: Rows, start: int) -> np.ndarray:
    """The high bit of 32 numbers of five bits, from four bytes."""
    return np.unpackbits(rows[:, start : start + 4], axis=1, bitorder="little").astype(np.float32) * 16


def _q4_0(rows: Rows) -> np.ndarray:
    return _read_half(rows, 0) * (_split_nibbles(rows, 2, 18) - 8)


def _q4_1(rows: Rows) -> np.ndarray:
    return _read_half(rows, 0) * _split_nibbles(rows, 4, 20) + _read_half(rows, 2)


def _q5_0(rows: Rows) -> np.ndarray:
    return _read_half(rows, 0) * (_split_nibbles(rows, 6, 22) + _fifth_bits(rows, 2) - 16)


def _q5_1(rows: Rows) -> np.ndarray:
    return _read_half(rows, 0) * (_split_nibbles(rows, 8, 24) + _fifth_bits(rows, 4)) + _read_half(rows, 2)


def _q8_0(rows: Rows) -> np.ndarray:
    return _read_half(rows, 0) * rows[:, 2:34].copy().view(np.int8).astype(np.float32)


def _packed_scales(rows: Rows, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight scales and eight minima of six bits each in twelve bytes."""
    low, mid, high = (rows[:, start + 4 * i : start + 4 * i + 4] for i in range(3))
    scales = np.concatenate([low & 63, (high & 15) | ((low >> 6) << 4)], axis=1)
    minima = np.concatenate([mid & 63, (high >> 4) | ((mid >> 6) << 4)], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _grouped_nibbles(rows: Rows, start: int) -> np.ndarray:
    """Eight groups of 32: each 32 bytes hold two groups, the first in their low halves."""
    part = rows[:, start : start + 128].reshape(len(rows), 4, 1, 32)
    return np.concatenate([part & 15, part >> 4], axis=2).reshape(len(rows), 8, 32).astype(np.float32)


def _q4_k(rows: Rows) -> np.ndarray:
    scales, minima = _packed_scales(rows, 4)
    value = (_read_half(rows, 0) * scales)[:, :, None] * _grouped_nibbles(rows, 16)
    return (value - (_read_half(rows, 2) * minima)[:, :, None]).reshape(len(rows), 256)


def _q5_k(rows: Rows) -> np.ndarray:
    scales, minima = _packed_scales(rows, 4)
    high = rows[:, 16:48].reshape(len(rows), 1, 32) >> np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    value = _grouped_nibbles(rows, 48) + 16.0 * (high & 1)
    scaled = (_read_half(rows, 0) * scales)[:, :, None] * value
    return (scaled - (_read_half(rows, 2) * minima)[:, :, None]).reshape(len(rows), 256)


def _q6_k(rows: Rows) -> np.ndarray:
    low = rows[:, :128].reshape(len(rows), 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(len(rows), 8, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    high = ((rows[:, 128:192].reshape(len(rows), 2, 1, 32) >> shifts) & 3).reshape(len(rows), 8, 32)
    value = (low | (high << 4)).astype(np.float32).reshape(len(rows), 16, 16) - 32
    scales = rows[:, 192:208].copy().view(np.int8).astype(np.float32)
    return ((_read_half(rows, 208) * scales)[:, :, None] * value).reshape(len(rows), 256)


def _view_plain(dtype: str) -> Callable[[Rows], np.ndarray]:
    return lambda rows: rows.reshape(-1).view(dtype).astype(np.float32).reshape(len(rows), -1)


def _view_bfloat16(rows: Rows) -> np.ndarray:
    return (rows.reshape(-1).view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(len(rows), -1)


BLOCKS = {
    0: QuantBlock("F32", 1, 4, _view_plain("<f4")),
    1: QuantBlock("F16", 1, 2, _view_plain("<f2")),
    2: QuantBlock("Q4_0", 32, 18, _q4_0),
    3: QuantBlock("Q4_1", 32, 20, _q4_1),
    6: QuantBlock("Q5_0", 32, 22, _q5_0),
    7: QuantBlock("Q5_1", 32, 24, _q5_1),
    8: QuantBlock("Q8_0", 32, 34, _q8_0),
    12: QuantBlock("Q4_K", 256, 144, _q4_k),
    13: QuantBlock("Q5_K", 256, 176, _q5_k),
    14: QuantBlock("Q6_K", 256, 210, _q6_k),
    24: QuantBlock("I8", 1, 1, _view_plain("i1")),
    25: QuantBlock("I16", 1, 2, _view_plain("<i2")),
    26: QuantBlock("I32", 1, 4, _view_plain("<i4")),
    28: QuantBlock("F64", 1, 8, _view_plain("<f8")),
    30: QuantBlock("BF16", 1, 2, _view_bfloat16),
}


# GGUF's names and row orders as Hugging Face has them, for the architectures that both write in the same way.

LLAMAS = ("llama",)
TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
IN_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
DROPPED = ("rope_freqs.weight",)  # tables that follow from the config


def as_hugging_face(
    stored: dict[str, StoredTensor], meta: dict[str, Any]
) -> tuple[dict[str, StoredTensor], dict[str, Any] | None]:
    """Renamed tensors and a config, or the tensors as they are and None where a name or the architecture is not known."""
    if meta.get("general.architecture") not in LLAMAS:
        return stored, None
    names = {name: _rename_tensor(name) for name in stored if name not in DROPPED}
    config = _make_config(stored, meta)
    if config is None or not all(names.values()):
        return stored, None
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    renamed = {}
    for name, new in names.items():
        n_heads = heads.get(new.split(".")[-2], 0) if new.endswith(".weight") else 0
        tensor = stored[name]
        renamed[new] = (
            StoredTensor(tensor.shape, tensor.dtype, partial(_reorder_halves, tensor.load, n_heads))
            if n_heads
            else tensor
        )
    return renamed, config


def _rename_tensor(name: str) -> str:
    """Hugging Face's name, or empty where there is none."""
    if name in TOP:
        return TOP[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    return (
        f"model.layers.{match[1]}.{IN_LAYER[match[2]]}.{match[3]}" if match and match[2] in IN_LAYER else ""
    )


def _reorder_halves(load: Callable[[], Tensor], n_heads: int) -> Tensor:
    """llama.cpp rotates neighboring rows of a head, Hugging Face its two halves."""
    return load().unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _make_config(stored: dict[str, StoredTensor], meta: dict[str, Any]) -> dict[str, Any] | None:
    """What Hugging Face's `config.json` would say; None where a size is missing."""
    kind = meta["general.architecture"]

    def get(key: str, default: Any = None) -> Any:
        return meta.get(f"{kind}.{key}", default)

    sizes = ("embedding_length", "feed_forward_length", "block_count", "attention.head_count")
    if any(get(key) is None for key in sizes) or "token_embd.weight" not in stored:
        return None
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": stored["token_embd.weight"].shape[0],
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": get("attention.head_count"),
        "num_key_value_heads": get("attention.head_count_kv", get("attention.head_count")),
        "max_position_embeddings": get("context_length", 2048),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon", 1e-5),
        "rope_theta": get("rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in stored,
    }
