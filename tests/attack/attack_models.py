"""Hostile models, made by code: files and folders that lie about their sizes, their kind, their place or their intent."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attack_damage import DEEP
from model_matrix import small_gguf, small_onnx, varint, write_script
from safetensors.torch import save

STATE = {"fc1.weight": torch.arange(48.0).reshape(8, 6), "fc2.weight": torch.arange(32.0).reshape(4, 8)}
HUGE = 2**62
NAN = float("nan")


class Payload:
    """A pickle that would leave a mark when it is followed."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple:
        return (os.system, (f"touch {self.mark}",))


def hostile_models(place: Path, whole: Path, mark: Path) -> dict[str, Path]:
    """Every model below `place` by its name. `whole`: a small folder that is well; `mark`: what code of a model would write."""
    made = {}
    sources = (_safetensors(), _torch_files(mark), _arrays(mark), _gguf(), _onnx(), _others())
    for name, content in (pair for source in sources for pair in source):
        path = place / name
        path.write_bytes(content)
        made[name] = path
    for name, spoil in _folders(mark).items():
        folder = place / name
        folder.mkdir()
        for file in whole.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        spoil(folder)
        made[name] = folder
    return made


# Files. Each source yields names with their contents; the ending of a name is the format's.


def _header(table: Any, data: bytes = b"", size: int | None = None) -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def _one(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}}


def _safetensors() -> Iterator[tuple[str, bytes]]:
    well = save(STATE)
    tables: dict[str, bytes] = {
        "nothing": b"",
        "eight-bytes": bytes(8),
        "header-without-end": _header(_one(), bytes(16), HUGE),
        "header-longer-than-file": _header(_one(), b"", 5000),
        "header-of-a-hundred-megabytes": struct.pack("<Q", 100_000_000) + b"{",
        "header-no-json": _header(b"{{{{", bytes(16)),
        "header-deep": _header(b"[" * DEEP + b"]" * DEEP),
        "header-deep-inside": _header(b'{"w": ' * DEEP + b"1" + b"}" * DEEP),
        "header-a-list": _header([1, 2]),
        "unknown-type": _header(_one(dtype="F7"), bytes(16)),
        "type-a-number": _header(_one(dtype=5), bytes(16)),
        "negative-side": _header(_one(shape=[-2, -2]), bytes(16)),
        "sides-of-text": _header(_one(shape=["a"]), bytes(16)),
        "sides-that-overflow": _header(_one(shape=[HUGE, 8]), bytes(16)),
        "sides-for-nothing": _header(_one(shape=[10**9, 10**9, 0], data_offsets=[0, 0])),
        "reversed-offsets": _header(_one(data_offsets=[16, 0]), bytes(16)),
        "offsets-beyond": _header(_one(shape=[400], data_offsets=[0, 1600]), bytes(16)),
        "overlap": _header(_one() | {"v": _one()["w"]}, bytes(16)),
        "hole": _header(_one(data_offsets=[8, 24]), bytes(24)),
        "twice": _header(b'{"w":%b,"w":%b}' % ((json.dumps(_one()["w"]).encode(),) * 2), bytes(16)),
        "odd-names": _header(
            {
                "../../x": _one()["w"],
                "": {**_one()["w"], "data_offsets": [16, 32]},
                "a\0\x1b[31m": {**_one()["w"], "data_offsets": [32, 48]},
            },
            bytes(48),
        ),
        "long-name": _header({"n" * 500_000: _one()["w"]}, bytes(16)),
        "odd-metadata": _header({"__metadata__": {"w": 5}, **_one()}, bytes(16)),
        "deep-metadata": _header({"__metadata__": {"decomposition": "[" * DEEP}, **_one()}, bytes(16)),
        "tied-to-itself": _header({"__metadata__": {"a": "a", "w": "w", "b": "a"}, **_one()}, bytes(16)),
        "many-empty": _header(
            {f"w{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(20_000)}
        ),
        "only-nan": save({name: value * NAN for name, value in STATE.items()}),
        "only-infinite": save({name: value / 0 for name, value in STATE.items()}),
        "many-sides": save({"w": torch.ones([1] * 40)}),
        "only-truth": save({"w": torch.ones(4, 4, dtype=torch.bool)}),
        "bad-scale": save(
            {"w": torch.ones(4, 4).to(torch.float8_e4m3fn), "w_scale_inv": torch.ones(3, 3, 3)}
        ),
        "one-bit": well[:40] + bytes([well[40] ^ 4]) + well[41:],
        "cut": well[:-5],
    }
    yield from ((f"{name}.safetensors", content) for name, content in tables.items())


def _saved(value: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **how)
    return buffer.getvalue()


def _torch_files(mark: Path) -> Iterator[tuple[str, bytes]]:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    corner, sides = torch.zeros(2, 1, dtype=torch.long), (10**6, 10**6)
    sparse = torch.sparse_coo_tensor(corner, torch.ones(1), sides, check_invariants=True)
    compressed = io.BytesIO()
    stored = io.BytesIO(_saved(STATE))
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
        new.writestr("archive/data/9", bytes(100_000_000))
    files = {
        "runs-code.pt": pickle.dumps(Payload(mark)),
        "runs-code-inside.pt": _saved({**STATE, "more": Payload(mark)}),
        "runs-code-as-before.pt": _saved(
            {**STATE, "more": Payload(mark)}, _use_new_zipfile_serialization=False
        ),
        "stretched.pt": _saved({"w": torch.ones(1).expand(10**6, 10**6)}),
        "sparse.pt": _saved({"w": sparse}),
        "circle.pt": _saved(circle),
        "deep.pt": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "numbers.pt": _saved({"a": 1, "b": [2, 3]}),
        "numbered.pt": _saved({1: torch.ones(2, 2), 2: torch.ones(2, 2)}),
        "complex.pt": _saved({"w": torch.ones(2, 2, dtype=torch.complex64)}),
        "elsewhere.pt": _saved({"w": torch.ones(10**6, 10**6, device="meta")}),
        "memo.pt": b"\x80\x02" + b"r" + struct.pack("<I", 2**31) + b".",
        "text-of-two-gigabytes.pt": b"\x80\x04\x8d" + struct.pack("<Q", 2**31) + b"x.",
        "no-archive.pt": b"PK\3\4" + bytes(300),
        "unpacks.pt": compressed.getvalue(),
        "cut.pt": _saved(STATE)[:-200],
    }
    yield from files.items()


def _array_header(shape: str, kind: str = "'<f4'") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def _archive(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _arrays(mark: Path) -> Iterator[tuple[str, bytes]]:
    objects = io.BytesIO()
    np.save(objects, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    well = _array_header("(2, 2)") + bytes(16)
    files = {
        "objects.npy": objects.getvalue(),
        "objects.npz": _archive({"w.npy": objects.getvalue()}),
        "calls.npy": _array_header(f"__import__('os').system('touch {mark}')"),
        "promises.npy": _array_header("(1000000000000,)"),
        "negative.npy": _array_header("(-3, 5)") + bytes(60),
        "overflow.npy": _array_header(f"({HUGE}, 8)") + bytes(60),
        "deep.npy": _array_header("(" * 3000 + ")" * 3000),
        "words.npy": _array_header("(1,)", "'<U4'") + bytes(16),
        "records.npy": _array_header("(1,)", "[('a', '<f4'), ('b', '<f4')]") + bytes(8),
        "no-header.npy": b"\x93NUMPY\1\0\xff\xff{",
        "zeros.npz": _archive({"w.npy": _array_header("(25000000,)") + bytes(100_000_000)}),
        "promises.npz": _archive({"w.npy": _array_header("(1000000000000,)") + bytes(4)}),
        "climbs.npz": _archive({"../../w.npy": well, "/etc/w.npy": well}),
        "no-arrays.npz": _archive({"w.npy": b"text", "readme": b"text"}),
        "empty.npz": _archive({}),
        "many.npz": _archive({f"w{i}.npy": well for i in range(3000)}),
    }
    yield from files.items()


def _gguf() -> Iterator[tuple[str, bytes]]:
    well = small_gguf()

    def of(n_tensors: int, n_values: int, more: bytes = b"", version: int = 3) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_values) + more

    def text(value: bytes, size: int | None = None) -> bytes:
        return struct.pack("<Q", len(value) if size is None else size) + value

    def tensor(sides: list[int], kind: int = 0, offset: int = 0) -> bytes:
        told = struct.pack("<I", len(sides)) + struct.pack(f"<{len(sides)}Q", *sides)
        return text(b"w") + told + struct.pack("<IQ", kind, offset)

    nested = b"".join(struct.pack("<IQ", 9, 1) for _ in range(20_000))
    files = {
        "cut": well[: len(well) // 2],
        "future": of(1, 0, version=99),
        "no-end": of(2**63, 2**63),
        "many-promised": of(2**20, 0, tensor([2, 2])),
        "long-text": of(1, 1, text(b"a", HUGE)),
        "nested": of(0, 1, text(b"a") + struct.pack("<I", 9) + nested),
        "many-sides": of(1, 0, text(b"w") + struct.pack("<I", 2**31)),
        "huge-sides": of(1, 0, tensor([HUGE, 8]) + bytes(64)),
        "offset-beyond": of(1, 0, tensor([4], 0, HUGE) + bytes(64)),
        "sides-of-none": of(1, 0, tensor([0, 10**9]) + bytes(64)),
        "odd-step": of(
            1, 1, text(b"general.alignment") + struct.pack("<IQ", 10, 2**63) + tensor([4]) + bytes(64)
        ),
        "step-of-text": of(
            1, 1, text(b"general.alignment") + struct.pack("<I", 8) + text(b"x") + tensor([4]) + bytes(64)
        ),
        "odd-architecture": of(
            1, 1, text(b"general.architecture") + struct.pack("<Ii", 5, -3) + tensor([4]) + bytes(64)
        ),
        "list-of-millions": of(0, 1, text(b"a") + struct.pack("<IIQ", 9, 0, 2**24) + bytes(100)),
    }
    yield from ((f"{name}.gguf", content) for name, content in files.items())


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def _onnx() -> Iterator[tuple[str, bytes]]:
    def tensor(*sides: int, kind: int = 1, more: bytes = b"") -> bytes:
        told = b"".join(varint(1 << 3) + varint(side) for side in sides)
        return _field(7, _field(5, told + varint(2 << 3) + varint(kind) + _field(8, b"w") + more))

    def outside(place: bytes) -> bytes:
        pair = _field(13, _field(1, b"location") + _field(2, place))
        return tensor(2, 2, more=pair + varint(14 << 3) + varint(1))

    graph = b""
    for _ in range(2000):
        graph = _field(6, _field(1, graph))
    files = {
        "empty": b"",
        "random": bytes(range(256)) * 4,
        "deep": _field(7, graph),
        "huge-sides": tensor(2**40, 2**40, more=_field(9, bytes(16))),
        "negative-sides": tensor(2**64 - 2, 2, more=_field(9, bytes(16))),
        "short-data": tensor(4, 4, more=_field(9, bytes(16))),
        "unknown-kind": tensor(2, 2, kind=77, more=_field(9, bytes(16))),
        "outside-by-name": outside(b"/etc/passwd"),
        "outside-by-steps": outside(b"../../etc/passwd"),
        "no-end-of-length": _field(7, b"\x2a" + b"\xff" * 9 + b"\x01"),
        "cut": small_onnx(STATE)[:-30],
    }
    yield from ((f"{name}.onnx", content) for name, content in files.items())


def _others() -> Iterator[tuple[str, bytes]]:
    def llama(*fields: int) -> bytes:
        return struct.pack("<7i", *fields) + bytes(400)

    yield "huge.bin", llama(2**19, 2**19, 2**19, 1, 1, 2**19, 2**19)
    yield "negative.bin", llama(-8, -8, -1, -1, -1, -8, -8)
    yield "zeros.bin", bytes(500)
    yield "text.txt", b"not a model\n"
    yield "text.h5", b"\x89HDF\r\n\x1a\n" + bytes(300)
    yield "unpacks.keras", _archive({"config.json": b"{}", "model.weights.h5": bytes(100_000_000)})


# Folders: a small one that is well, with one thing changed.


def _folders(mark: Path) -> dict[str, Callable[[Path], object]]:
    def config(**changes: Any) -> Callable[[Path], object]:
        def spoil(folder: Path) -> None:
            file = folder / "config.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

        return spoil

    def holds(name: str, content: bytes) -> Callable[[Path], object]:
        return lambda folder: (folder / name).write_bytes(content)

    def index(**places: str) -> Callable[[Path], object]:
        return holds("model.safetensors.index.json", json.dumps({"weight_map": places}).encode())

    configs = {
        "config-empty": holds("config.json", b""),
        "config-a-list": holds("config.json", b"[1]"),
        "config-deep": holds("config.json", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        "config-not-text": holds("config.json", b"\xff\xfe\0"),
        "config-of-nothing": holds("config.json", b"{}"),
        "config-nan": config(layer_norm_epsilon=NAN, initializer_range=NAN),
        "kind-unknown": config(model_type="no-such"),
        "kind-a-list": config(model_type=["gpt2"]),
        "kind-of-another": config(model_type="llama"),
        "class-of-the-library": config(architectures=["set_seed"]),
        "class-no-network": config(architectures=["GPT2Config"]),
        "class-a-module": config(architectures=["modeling_utils"]),
        "class-a-number": config(architectures=[5]),
        "class-a-text": config(architectures="GPT2LMHeadModel"),
        "class-unknown": config(architectures=["NoSuchModel"]),
        "width-huge": config(n_embd=10**9),
        "width-negative": config(n_embd=-8),
        "width-a-text": config(n_embd="wide"),
        "width-of-none": config(n_embd=0),
        "heads-do-not-divide": config(n_head=7),
        "heads-of-none": config(n_head=0),
        "layers-huge": config(n_layer=10**7),
        "layers-negative": config(n_layer=-1),
        "words-huge": config(vocab_size=10**11),
        "activation-unknown": config(activation_function="explode"),
        "type-unknown": config(torch_dtype="float7", dtype="float7"),
        "attention-from-the-hub": config(_attn_implementation="kernels-community/flash-attn"),
        "attention-unknown": config(attn_implementation="x", _attn_implementation="x"),
        "quantized-oddly": config(quantization_config={"quant_method": "x"}),
        "quantized-by-number": config(quantization_config=5),
        "brings-code": _brings_code(mark, config),
    }
    weights = {
        "index-climbs": index(w="../../etc/passwd"),
        "index-by-name": index(w="/etc/passwd"),
        "index-of-itself": index(w="model.safetensors.index.json"),
        "index-of-lost": index(w="lost.safetensors"),
        "index-a-list": holds("model.safetensors.index.json", b'{"weight_map": [1]}'),
        "index-deep": holds("model.safetensors.index.json", b"[" * DEEP),
        "weights-no-file": _replaced(lambda path: path.mkdir()),
        "weights-a-pipe": _replaced(os.mkfifo),
        "weights-a-loop": _replaced(lambda path: path.symlink_to(path.name)),
        "weights-elsewhere": _replaced(lambda path: path.symlink_to("/dev/zero")),
        "weights-none": _replaced(lambda path: None),
        "weights-a-pickle": _replaced(
            lambda path: path.with_name("pytorch_model.bin").write_bytes(_saved({"w": Payload(mark)}))
        ),
        "weights-of-another": holds("model.safetensors", save(STATE)),
        "weights-empty": holds("model.safetensors", save({})),
        "config-a-pipe": lambda folder: (
            (folder / "config.json").unlink(),
            os.mkfifo(folder / "config.json"),
        ),
        "words-no-json": holds("tokenizer.json", b"{{"),
        "words-deep": holds("tokenizer.json", b"[" * DEEP),
        "words-of-nothing": holds("tokenizer.json", b"{}"),
        "words-by-code": holds(
            "tokenizer_config.json",
            b'{"auto_map": {"AutoTokenizer": ["own.T", null]}, "tokenizer_class": "T"}',
        ),
        "picture-settings-odd": holds("preprocessor_config.json", b"[" * DEEP),
        "program": lambda folder: (
            [path.unlink() for path in folder.iterdir()],
            write_script(folder / "x.pt"),
        ),
        "nothing": lambda folder: [path.unlink() for path in folder.iterdir()],
    }
    return {**configs, **weights}


def _brings_code(mark: Path, config: Callable[..., Callable[[Path], object]]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').write('ran')\n")
        auto = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
        config(auto_map=auto, model_type="own", architectures=["M"])(folder)

    return spoil


def _replaced(put: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.unlink()
        put(path)

    return spoil
