import json
import os
import pickle

import pytest
import torch
from torch import nn

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.prune.subjects.shards import list_stored
from digsite.weights import open_weights, parse_reference, read_weights, write_weights
from digsite.weights.bundle import LazyTensors, say_unread
from digsite.weights.formats import safetensors


class Evil:
    """Pickles to a call, as an attacker's file would."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def tied_model() -> nn.Module:
    model = nn.ModuleDict({"embed": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["embed"].weight
    return model


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_tensors_and_ties_survive(tmp_path, suffix):
    model, path = tied_model(), tmp_path / f"m{suffix}"
    if suffix == ".pt":
        torch.save(model.state_dict(), path)
    else:
        write_weights(path, model, {"note": "hello", "sizes": [1, 2]})
    bundle = read_weights(str(path))
    assert list(bundle.tensors) == ["embed.weight"] and bundle.tied == {"head.weight": "embed.weight"}
    assert bundle.shape("head.weight") == (5, 3)
    state = bundle.state_dict()
    assert torch.equal(state["head.weight"], model["head"].weight)
    model.load_state_dict(state)
    if suffix == ".safetensors":
        assert bundle.meta["note"] == "hello" and bundle.meta["sizes"] == [1, 2]


def test_aliases_are_those_of_safetensors_itself(tmp_path):
    from safetensors.torch import load_model, save_model

    model, twin = tied_model(), tied_model()
    write_weights(tmp_path / "ours.safetensors", model)
    load_model(twin, tmp_path / "ours.safetensors")
    assert torch.equal(twin["head"].weight, model["head"].weight)
    save_model(model, str(tmp_path / "theirs.safetensors"))
    assert read_weights(str(tmp_path / "theirs.safetensors")).state_dict().keys() == model.state_dict().keys()


def test_views_of_one_memory_are_written_apart(tmp_path):
    stack = torch.rand(3, 4, 2)
    tensors = {"a": stack[0], "b": stack[1], "c": stack[2].T, "d": stack[0]}
    write_weights(tmp_path / "m.safetensors", tensors)
    bundle = read_weights(str(tmp_path / "m.safetensors"))
    assert bundle.tied == {"d": "a"} and all(torch.equal(bundle.tensors[n], tensors[n]) for n in "abc")


def test_reading_is_lazy_and_never_writes_back(tmp_path):
    path = tmp_path / "big.safetensors"
    write_weights(path, {"a": torch.ones(1000, 100), "b": torch.zeros(3)})
    before = path.read_bytes()
    bundle = open_weights(path)
    assert isinstance(bundle.tensors, LazyTensors) and bundle.shape("a") == (1000, 100)
    assert bundle.tensors.stored["a"].dtype == "F32"
    bundle.tensors["a"].zero_()
    assert path.read_bytes() == before
    assert "a" in bundle.tensors and "c" not in bundle.tensors and len(bundle) == 2


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_execute_code_is_refused(tmp_path, legacy):
    path, mark = tmp_path / "evil.pt", tmp_path / "executed"
    evil = {"w": torch.ones(2), "x": Evil(os.mkdir, str(mark))}
    torch.save(evil, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        DigsiteError, match=r"evil\.pt' was not read: its pickle calls posix\.mkdir.*execute any code"
    ):
        read_weights(str(path))
    assert not mark.exists()


def test_a_bare_pickle_is_refused_too(tmp_path):
    path, mark = tmp_path / "evil.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps(Evil(os.mkdir, str(mark))))
    with pytest.raises(DigsiteError, match=r"evil\.pkl' was not read: its pickle calls posix\.mkdir"):
        read_weights(str(path))
    assert not mark.exists()


def test_a_whole_module_is_refused_with_the_way_out(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "m.pt")
    with pytest.raises(
        DigsiteError, match=r"calls torch\.nn\.modules\.linear\.Linear.*torch\.save\(model\.state_dict"
    ):
        read_weights(str(tmp_path / "m.pt"))


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_usual_wrappers_are_opened(tmp_path, wrapper):
    torch.save({"epoch": 3, wrapper: {"a": torch.ones(2), "n": 4}}, tmp_path / "c.pt")
    bundle = read_weights(str(tmp_path / "c.pt"))
    assert list(bundle.tensors) == ["a"]
    assert bundle.meta["inside"] == wrapper and bundle.meta["skipped"] == ["n"]


def test_no_tensors_is_named(tmp_path):
    torch.save([1, 2], tmp_path / "l.pt")
    with pytest.raises(DigsiteError, match=r"l\.pt' holds a list without named tensors"):
        read_weights(str(tmp_path / "l.pt"))
    write_weights(tmp_path / "empty.safetensors", {})
    with pytest.raises(DigsiteError, match="holds no tensors"):
        read_weights(str(tmp_path / "empty.safetensors"))


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt"])
def test_a_cut_file_is_named(tmp_path, name):
    path = tmp_path / name
    tensors = {"a": torch.rand(1000)}
    torch.save(tensors, path) if name == "m.pt" else write_weights(path, tensors)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DigsiteError, match=r"is not a whole .*file"):
        read_weights(str(path))


def test_what_is_no_model_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DigsiteError, match=r"notes\.txt' is not a model.*safetensors"):
        read_weights(str(tmp_path / "notes.txt"))
    with pytest.raises(NotFound, match="no file or folder"):
        read_weights(str(tmp_path / "absent.pt"))


def test_sharded_folders(tmp_path):
    tensors = {f"layers.{i}.weight": torch.full((4, 4), float(i)) for i in range(3)}
    tensors["model.embed_tokens.weight"] = torch.ones(7, 4)
    weight_map = {}
    for i, name in enumerate(tensors):
        weight_map[name] = f"model-{i % 2}.safetensors"
    for file in set(weight_map.values()):
        write_weights(tmp_path / file, {n: t for n, t in tensors.items() if weight_map[n] == file})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "tie_word_embeddings": True}))
    bundle = read_weights(f"file:{tmp_path}")
    assert bundle.tied == {"lm_head.weight": "model.embed_tokens.weight"} and bundle.meta["files"] == 2
    assert all(torch.equal(bundle.tensors[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(NotFound, match=r"lacks 1 of its 2 weight files, the first is 'model-1\.safetensors'"):
        read_weights(f"file:{tmp_path}")


def test_older_bin_folders(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert read_weights(str(tmp_path)).tensors["a"].tolist() == [1, 1]


def test_a_pipe_in_place_of_weights_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    for read in (open_weights, list_stored):
        with pytest.raises(DigsiteError, match="a pipe or a device"):
            read(tmp_path)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(NotFound, match="holds no weights"):
        read_weights(str(tmp_path))
    for name in "ab":
        write_weights(tmp_path / f"{name}.safetensors", {"x": torch.ones(1)})
    with pytest.raises(
        NotFound, match=r"several weight files without an index.*a\.safetensors, b\.safetensors"
    ):
        read_weights(str(tmp_path))


def test_numpy_archives(tmp_path):
    import numpy as np

    np.savez(tmp_path / "m.npz", w=np.ones((2, 3), np.float32), names=np.array(["a"]))
    bundle = read_weights(str(tmp_path / "m.npz"))
    assert bundle.shape("w") == (2, 3) and bundle.meta["skipped"] == ["names"]
    np.savez(tmp_path / "evil.npz", w=np.array([{}], dtype=object))
    with pytest.raises(DigsiteError, match="could not be read as arrays"):
        read_weights(str(tmp_path / "evil.npz"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model.pt", ("file", "model.pt", "")),
        ("file:/a/b.pt", ("file", "/a/b.pt", "")),
        ("C:/a/b.pt", ("file", "C:/a/b.pt", "")),
        ("hub:org/name@main", ("hub", "org/name@main", "")),
        ("run:20261120-0742-k3f#model", ("run", "20261120-0742-k3f", "model")),
        ("py:my.module:make", ("py", "my.module:make", "")),
        ("wandb:a/b/runs/c", ("wandb", "a/b/runs/c", "")),
    ],
)
def test_references(text, parts):
    reference = parse_reference(text)
    assert (reference.scheme, reference.target, reference.member) == parts
    assert parse_reference(str(reference)) == reference


def test_bad_references_are_named():
    with pytest.raises(UsageError, match=r"unknown scheme 'hup:'.*'hub'"):
        parse_reference("hup:org/name")
    with pytest.raises(UsageError, match="'hub:' names no model"):
        parse_reference("hub:")
    with pytest.raises(UsageError, match="it has no member '3'"):
        read_weights("file:x.pt#3")


def test_a_plugin_adds_a_scheme(monkeypatch):
    from importlib import metadata
    from types import SimpleNamespace

    from digsite.weights import WeightBundle

    source = SimpleNamespace(read=lambda target, member: WeightBundle({f"{target}/{member}": torch.ones(1)}))
    point = SimpleNamespace(name="shelf", load=lambda: source)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
    bundle = read_weights("shelf:a#7")
    assert list(bundle.tensors) == ["a/7"] and bundle.meta["reference"] == "shelf:a#7"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_a_tensor_read_apart_is_the_mapped_one_and_can_be_changed(tmp_path, dtype):
    given = {"w": torch.arange(30).reshape(5, 6).to(dtype), "nothing": torch.zeros(0, 3, dtype=dtype)}
    write_weights(tmp_path / "x.safetensors", given)
    held = read_weights(str(tmp_path / "x.safetensors")).tensors
    for name, tensor in given.items():
        apart = held.read_apart(name)
        assert torch.equal(apart, tensor) and apart.dtype == dtype
        apart.zero_()
        assert torch.equal(held[name], tensor)


def raw_safetensors(path, entries):
    """A file by hand, for types that no writer of torch has: {name: (type, shape, bytes)}."""
    header, place = {}, 0
    for name, (kind, shape, content) in entries.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, place := place + len(content)]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    content = b"".join(content for _, _, content in entries.values())
    path.write_bytes(len(head).to_bytes(8, "little") + head + content)
    return str(path)


def test_types_that_are_not_numbers_by_themselves_are_named_with_their_share(tmp_path):
    scales, packed = ("F8_E8M0", [4, 4], bytes(16)), ("F4", [4, 8], bytes(16))
    floats = ("F32", [2, 2], torch.eye(2).numpy().tobytes())
    some = read_weights(raw_safetensors(tmp_path / "a.safetensors", {"a": scales, "b": packed, "c": floats}))
    assert list(some.tensors) == ["c"] and torch.equal(some.tensors["c"], torch.eye(2))
    (note,) = say_unread(some)
    assert note.startswith(
        "not understood: 2 of 3 entries, 92.3% of the numbers, first 'a' (numbers of type F8_E8M0"
    )
    with pytest.raises(DigsiteError, match="no tensors that can be read; 'b': numbers of type F4"):
        read_weights(raw_safetensors(tmp_path / "b.safetensors", {"b": packed}))


def test_a_file_larger_than_can_be_mapped_is_not_called_damaged(tmp_path, monkeypatch):
    """What torch says of a file of 400 GB with one hole in it, which not every file system has room for."""

    def safe_open(path, framework):
        raise RuntimeError(
            f"unable to mmap 400000000264 bytes from file <{path}>: Cannot allocate memory (12)"
        )

    path = raw_safetensors(tmp_path / "large.safetensors", {"w": ("F32", [1], bytes(4))})
    monkeypatch.setattr(safetensors, "safe_open", safe_open)
    with pytest.raises(UsageError, match="a file of 0 GB, more than this machine can map"):
        read_weights(path)


def test_code_that_a_folder_asks_for_is_said(tmp_path):
    write_weights(tmp_path / "model.safetensors", {"w": torch.eye(2)})
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_x.X"}}')
    (tmp_path / "modeling_x.py").write_text("raise SystemExit")
    assert say_unread(read_weights(str(tmp_path))) == ["not run: the folder's own code (modeling_x.py)"]
