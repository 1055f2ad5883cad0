"""Every kind of model that people bring, through every verb: answered, or refused in one sentence."""

import re
import shutil
import traceback
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from click.testing import CliRunner
from model_families import FAMILIES, PATTERNS, write_family
from safetensors.torch import save_file

from digsite.base.errors import DigsiteError
from digsite.cli import cli
from digsite.models import build, parse, save_model

VERBS = ("read", "prune", "decompose", "track", "graft")


@dataclass(frozen=True)
class Case:
    """A model by reference, and what each verb is given beside it."""

    name: str
    reference: str
    patterns: str
    prune: tuple[str, ...]
    decompose: tuple[str, ...]
    what: str = ""


@dataclass(frozen=True)
class Cell:
    """What a verb did: `answered`, `refused`, or `broken`."""

    outcome: str
    text: str


def write_data(folder: Path) -> dict[str, str]:
    """A text, token ids, features of sounds, rows of inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 200)
    np.save(folder / "mel.npy", draw.normal(size=(8, 20, 48)).astype("float32"))
    np.save(folder / "rows.npy", draw.normal(size=(16, 6)).astype("float32"))
    return {
        "text": str(folder / "text.txt"),
        "mel": str(folder / "mel.npy"),
        "rows": str(folder / "rows.npy"),
    }


def family_cases(root: Path, data: dict[str, str], transformers: object) -> Iterator[Case]:
    """Tiny networks of twelve families, made by their own library."""
    given = {"vit": ("digits", "0"), "whisper": (data["mel"], "0")}
    for family in FAMILIES:
        folder = write_family(root / family, family, transformers)
        source, length = given.get(family, (data["text"], "16"))
        feed = ("--data", source) if family in given else ("--text", source)
        words = ("--calibration", source, "--sequences", "4", "--length", length)
        yield Case(family, str(folder), PATTERNS[family], words, feed, "Hugging Face folder")
    shards = write_shards(root / "shards", root / "llama", transformers)
    words = ("--calibration", data["text"], "--sequences", "4", "--length", "16", "--stream")
    yield Case(
        "shards",
        str(shards),
        PATTERNS["llama"],
        words,
        ("--text", data["text"]),
        "bfloat16, in shards, streamed",
    )


def format_cases(root: Path, data: dict[str, str]) -> Iterator[Case]:
    """One small network in every format of files; those of missing packages are left out."""
    root.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    state = {"fc1.weight": torch.randn(8, 6), "fc1.bias": torch.randn(8), "fc2.weight": torch.randn(4, 8)}
    state["fc2.bias"] = torch.randn(4)
    rows = ("--calibration", data["rows"])

    def case(name: str, what: str, *prune: str) -> Case:
        return Case(name, str(root / name), "fc1", prune or rows, ("--data", data["rows"]), what)

    save_model(root / "saved.safetensors", build(parse({"kind": "mlp", "sizes": [6, 8, 7]})))
    feed = ("--data", data["rows"])
    yield Case(
        "saved.safetensors",
        str(root / "saved.safetensors"),
        "layers.0",
        rows,
        feed,
        "a network saved with its config",
    )
    save_file(state, root / "plain.safetensors")
    yield case("plain.safetensors", "tensors whose use is not said")
    yield case("plain.safetensors", "the same by magnitude", "--method", "magnitude")
    save_file(
        {n: t.to(torch.float8_e4m3fn) if t.ndim == 2 else t for n, t in state.items()},
        root / "fp8.safetensors",
    )
    yield case("fp8.safetensors", "eight-bit floats", "--method", "magnitude")
    torch.save(state, root / "state.pt")
    yield case("state.pt", "state dict", "--method", "magnitude")
    torch.save(
        {"epoch": 3, "net": {"fc1": {"weight": state["fc1.weight"]}}, "optimizer": {"m": torch.ones(2)}},
        root / "nested.pth",
    )
    yield case("nested.pth", "checkpoint with nested dicts", "--method", "magnitude")
    torch.save(state["fc1.weight"], root / "bare.pt")
    yield case("bare.pt", "a bare tensor", "--method", "magnitude")
    np.save(root / "matrix.npy", state["fc1.weight"].numpy())
    yield case("matrix.npy", "one array", "--method", "magnitude")
    np.savez(root / "arrays.npz", **{n: t.numpy() for n, t in state.items()})
    yield case("arrays.npz", "arrays", "--method", "magnitude")
    torch.save(torch.nn.Linear(2, 2), root / "pickle.pt")
    yield case("pickle.pt", "a pickled module")
    write_script(root / "script.pt")
    yield case("script.pt", "TorchScript")
    (root / "text.safetensors").write_text("not a model")
    yield case("text.safetensors", "a text with a wrong name")
    (root / "onnx_model.onnx").write_bytes(small_onnx(state))
    yield case("onnx_model.onnx", "ONNX", "--method", "magnitude")
    (root / "blocks.gguf").write_bytes(small_gguf())
    yield case("blocks.gguf", "GGUF of an unknown architecture", "--method", "magnitude")
    yield Case(
        "py:", "py:model_matrix:tiny_mlp", "0", rows, ("--data", data["rows"]), "a module of one's own"
    )
    yield Case(
        "py: that fails",
        "py:model_matrix:broken",
        "0",
        rows,
        ("--data", data["rows"]),
        "a factory that raises",
    )
    yield Case("missing", str(root / "missing"), "0", rows, ("--data", data["rows"]), "no such file")


def write_shards(folder: Path, source: Path, transformers: Any) -> Path:
    """The same network in bfloat16, cut into files of 20 kB, with its tokenizer beside."""
    shutil.copytree(source, folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    return folder


def tiny_mlp() -> torch.nn.Module:
    """A factory as a user writes one."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 7))


def broken() -> torch.nn.Module:
    raise RuntimeError("no such device")


def write_script(path: Path) -> None:
    """The entries of a TorchScript archive; making a real one is deprecated in torch."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"script/{name}", b"\x80\x02}q\x00.")


def small_onnx(state: dict[str, torch.Tensor]) -> bytes:
    """A graph of two MatMuls, written field by field."""

    def field(number: int, content: bytes | int) -> bytes:
        if isinstance(content, int):
            return varint(number << 3) + varint(content)
        return varint(number << 3 | 2) + varint(len(content)) + content

    def tensor(name: str, array: np.ndarray) -> bytes:
        dims = b"".join(field(1, side) for side in array.shape)
        return dims + field(2, 1) + field(8, name.encode()) + field(9, array.astype("<f4").tobytes())

    graph = b""
    for i in (1, 2):
        weight = state[f"fc{i}.weight"].numpy()
        node = field(1, b"x") + field(1, f"onnx::MatMul_{i}".encode()) + field(2, b"y")
        graph += field(1, node + field(3, f"/fc{i}/MatMul".encode()) + field(4, b"MatMul"))
        graph += field(5, tensor(f"onnx::MatMul_{i}", weight.T))
    return field(1, 8) + field(7, graph)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def small_gguf() -> bytes:
    """One Q8_0 matrix and one of a kind that is not known."""

    def text(word: str) -> bytes:
        return len(word).to_bytes(8, "little") + word.encode()

    def entry(name: str, kind: int, offset: int) -> bytes:
        sides = (64).to_bytes(8, "little") + (4).to_bytes(8, "little")
        return (
            text(name)
            + (2).to_bytes(4, "little")
            + sides
            + kind.to_bytes(4, "little")
            + offset.to_bytes(8, "little")
        )

    head = b"GGUF" + (3).to_bytes(4, "little") + (2).to_bytes(8, "little") + (1).to_bytes(8, "little")
    head += text("general.architecture") + (8).to_bytes(4, "little") + text("unheard")
    head += entry("blk.0.weight", 8, 0) + entry("blk.1.weight", 99, 288)
    head += b"\0" * (-len(head) % 32)
    block = np.float16(0.5).tobytes() + bytes(range(32))
    return head + block * 8


def run_case(case: Case, work: Path) -> Iterator[tuple[str, Cell]]:
    """Every verb once."""
    for verb in VERBS:
        yield verb, run_verb(_words(case, verb, work), case.reference)


def _words(case: Case, verb: str, work: Path) -> list[str]:
    if verb == "prune":
        shutil.rmtree(work / "out", ignore_errors=True)
        return ["prune", case.reference, *case.prune, "--out", str(work / "out")]
    if verb == "decompose":
        small = (
            "decompose.steps=2",
            "decompose.C=4",
            "decompose.batch=4",
            "figures=[]",
            "decompose.compile=never",
        )
        return [
            "decompose",
            case.reference,
            "--modules",
            case.patterns,
            *case.decompose,
            *small,
            "--runs",
            str(work / "runs"),
        ]
    if verb == "track":
        return ["track", *[case.reference] * 3]
    return [verb, case.reference] if verb == "read" else [verb, case.reference, case.reference]


def run_verb(words: list[str], reference: str) -> Cell:
    """The command line in this process: an exception that is none of ours is a traceback."""
    done = CliRunner().invoke(cli, words)
    error = done.exception
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return Cell("answered", done.output)
    if isinstance(error, DigsiteError):
        return _refused(error.message, reference)
    if isinstance(error, click.ClickException):
        return _refused(error.format_message(), reference)
    if isinstance(error, SystemExit):  # a run that says in its own line why it failed
        failed = re.search(r"failed\s+(.+)", done.output)
        return (
            _refused(failed[1], reference)
            if failed and "Traceback" not in done.output
            else Cell("broken", done.output)
        )
    return Cell("broken", "".join(traceback.format_exception(error)[-4:]))


def _refused(message: str, reference: str) -> Cell:
    """The first sentence, without what is only this file's: its path, the names of its tensors."""
    said = message.strip().replace(reference, "MODEL")
    first = re.split(r"\.(?= [A-Z])", re.sub(r" \([^()]*, \.\.\.\)", "", said))[0].rstrip(".") + "."
    return Cell("broken" if "\n" in said else "refused", first)


def as_table(rows: dict[tuple[str, str], dict[str, Cell]]) -> str:
    """The page's table; refusals are numbered and written out below."""
    reasons: list[str] = []
    lines = ["| model | what | " + " | ".join(VERBS) + " |", "|---|---|" + "---|" * len(VERBS)]
    for (name, what), cells in rows.items():
        shown = []
        for verb in VERBS:
            cell = cells[verb]
            if cell.outcome == "refused":
                if cell.text not in reasons:
                    reasons.append(cell.text)
                shown.append(f"[{reasons.index(cell.text) + 1}]")
            else:
                shown.append(cell.outcome)
        lines.append(f"| `{name}` | {what} | " + " | ".join(shown) + " |")
    notes = [f"{i + 1}. {reason}" for i, reason in enumerate(reasons)]
    return "\n".join([*lines, "", *notes]) + "\n"
