"""GGUF files written by hand: a tiny Llama with a byte-level tokenizer in its header."""

from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"embedding_length": 16, "feed_forward_length": 24, "block_count": 1, "attention.head_count": 2}
MATRICES = {
    "attn_q": (16, 16),
    "attn_k": (16, 16),
    "attn_v": (16, 16),
    "attn_output": (16, 16),
    "ffn_gate": (24, 16),
    "ffn_up": (24, 16),
    "ffn_down": (16, 24),
}


def write_llama(path: Path, merges: list[str]) -> Path:
    """One block on the 256 bytes and what `merges` make of them, weights drawn from seed 0."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = [*bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in merges)]
    settings = {"general.architecture": "llama", "llama.context_length": 64}
    settings |= {f"llama.{key}": value for key, value in SIZES.items()}
    settings |= {"llama.attention.layer_norm_rms_epsilon": 1e-5, "tokenizer.ggml.model": "gpt2"}
    settings |= {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges}
    settings |= {"tokenizer.ggml.token_type": [1] * len(tokens), "tokenizer.ggml.eos_token_id": 0}
    draw = np.random.default_rng(0)
    shapes = {f"blk.0.{name}.weight": shape for name, shape in MATRICES.items()}
    tensors = {name: draw.normal(0, 0.2, shape) for name, shape in shapes.items()}
    tensors["token_embd.weight"] = draw.normal(0, 1, (len(tokens), 16))
    ones = ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight")
    path.write_bytes(pack_gguf(settings, tensors | {name: np.ones(16) for name in ones}))
    return path


def pack_gguf(settings: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    """Version 3, everything in float32."""
    head = b"GGUF" + number(3, 4) + number(len(tensors), 8) + number(len(settings), 8)
    for key, value in settings.items():
        kind, packed = pack_value(value)
        head += pack_text(key) + number(kind, 4) + packed
    body = b""
    for name, values in tensors.items():
        sides = b"".join(number(side, 8) for side in reversed(values.shape))
        head += pack_text(name) + number(values.ndim, 4) + sides + number(0, 4) + number(len(body), 8)
        body += values.astype("<f4").tobytes()
        body += b"\0" * (-len(body) % 32)
    return head + b"\0" * (-len(head) % 32) + body


def pack_value(value: Any) -> tuple[int, bytes]:
    """Its kind in GGUF, and its bytes."""
    if isinstance(value, str):
        return 8, pack_text(value)
    if isinstance(value, float):
        return 6, np.float32(value).tobytes()
    if isinstance(value, int):
        return 4, number(value, 4)
    kind = pack_value(value[0])[0]
    return 9, number(kind, 4) + number(len(value), 8) + b"".join(pack_value(one)[1] for one in value)


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def pack_text(text: str) -> bytes:
    return number(len(text.encode()), 8) + text.encode()
