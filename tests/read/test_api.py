import struct
import weakref
from functools import partial

import numpy as np
import pytest
import read_networks
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.read import api as desk
from digsite.read import train_reader
from digsite.read.core.population import stack_models
from digsite.read.judge import diff
from digsite.read.judge.diff import compare_checkpoints
from digsite.weights import bundle
from digsite.weights.bundle import LazyTensors, StoredTensor, WeightBundle


@pytest.fixture(scope="module")
def reader_path(sides, tmp_path_factory):
    reader = train_reader(sides[0], "consensus", ["test_accuracy", "init"])
    return str(reader.save(tmp_path_factory.mktemp("reader") / "r.safetensors"))


def _file(folder, tensors, name="m.safetensors"):
    save_file({k: t.contiguous() for k, t in tensors.items()}, folder / name)
    return f"file:{folder / name}"


def test_member_of_a_zoo(zoo, reader_path):
    found = desk.read_model(f"zoo:{zoo.folder}#3", reader_path)
    assert {p["property"] for p in found["predictions"]} == {"test_accuracy", "init"}
    assert len(found["layers"]) == 3 and any("zoo" in n for n in found["notes"])


def test_single_layer_gets_no_number(tmp_path, reader_path):
    found = desk.read_model(_file(tmp_path, {"w.weight": torch.randn(10, 64)}), reader_path)
    assert found["predictions"] == [] and any("single layer" in n for n in found["notes"])


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"a.weight": torch.full((4, 3), torch.nan)}, "NaN or infinite"),
        ({"a.weight": torch.zeros(0, 3)}, "length zero"),
        ({"a.bias": torch.zeros(3)}, "no weight matrix"),
        ({"a.weight": torch.randn(9, 30), "b.weight": torch.randn(10, 9)}, "another family"),
    ],
)
def test_refusals(tensors, words, tmp_path, reader_path):
    with pytest.raises(UsageError, match=words):
        desk.read_model(_file(tmp_path, tensors), reader_path)


def test_two_checkpoints(tmp_path):
    state = read_networks.make("relu mlp").state_dict()
    other = {k: t + 0.1 if k == "layers.1.weight" else t for k, t in state.items()}
    found = desk.compare_models(_file(tmp_path, state), _file(tmp_path, other, "n.safetensors"))
    assert (
        found["verdict"] == "changed"
        and "the networks were not run: only weights are at hand." in found["notes"]
    )


def test_lineage_of_a_folder(tmp_path):
    g = torch.Generator().manual_seed(0)
    base = torch.randn(40, 40, generator=g)
    _file(tmp_path, {"w": base}, "base.safetensors")
    _file(tmp_path, {"w": torch.where(base.abs() < 0.5, 0.0, base)}, "small.safetensors")
    (tmp_path / "README.md").write_text("models")
    found = desk.trace_folder(str(tmp_path), str(tmp_path / "tree.png"))
    assert found["roots"] == ["base"]
    assert [(e["parent"], e["child"], e["how"]) for e in found["edges"]] == [("base", "small", "pruned")]
    assert (tmp_path / "tree.png").is_file()


def test_empty_folder_and_no_folder(tmp_path):
    with pytest.raises(UsageError, match="at least two"):
        desk.trace_folder(str(tmp_path))
    with pytest.raises(NotFound):
        desk.trace_folder(str(tmp_path / "none"))


def test_numbers_are_plain(zoo, reader_path):
    value = desk.read_model(f"zoo:{zoo.folder}#0", reader_path)["predictions"][0]["value"]
    assert isinstance(value, float) and np.isfinite(value)


def test_a_config_beside_the_file_gives_heads_and_activation(tmp_path):
    g = torch.Generator().manual_seed(0)
    names = [f"layers.0.self_attn.{r}_proj.weight" for r in "qkvo"]
    tensors = {"embed_tokens.weight": torch.randn(50, 8, generator=g)} | {
        n: torch.randn(8, 8, generator=g) for n in names
    }
    tensors |= {
        "layers.0.mlp.up_proj.weight": torch.randn(16, 8, generator=g),
        "layers.0.mlp.down_proj.weight": torch.randn(8, 16, generator=g),
    }
    for name in ("other.safetensors", "model.safetensors"):
        save_file(tensors, tmp_path / name)
        (tmp_path / "config.json").write_text('{"num_attention_heads": 4, "hidden_act": "gelu_new"}')
        group = stack_models([desk.open_reference(str(tmp_path / name))]).groups[0]
        assert group.graph.blocks[1].heads == (4, 4), name
        assert next(n for n in group.graph.nodes if n.kind == "hidden").activation == "gelu"
    (tmp_path / "config.json").write_text("no json")
    assert "transformer" in desk.read_model(str(tmp_path / "other.safetensors"))["what"]


def test_four_answers_and_relatives(tmp_path):
    state = read_networks.make("relu mlp").state_dict()
    _file(tmp_path, state)
    (tmp_path / "others").mkdir()
    _file(tmp_path / "others", {k: t + 0.01 for k, t in state.items()}, "copy.safetensors")
    found = desk.read_model(f"file:{tmp_path / 'm.safetensors'}", against=str(tmp_path / "others"))
    assert [a["question"].split()[0] for a in found["answers"]] == ["where", "what", "is", "what"]
    assert "candidates" in found["answers"][0]["answer"] or "related" in found["answers"][0]["answer"]
    assert "fully connected" in found["what"]


def test_a_folder_with_one_model_and_models_of_other_architectures(tmp_path):
    _file(tmp_path, {"a.weight": torch.randn(20, 30), "b.weight": torch.randn(10, 20)}, "one.safetensors")
    with pytest.raises(UsageError, match=r"holds 1 model.*a lineage needs at least two"):
        desk.trace_folder(str(tmp_path))
    _file(tmp_path, {"c.weight": torch.randn(8, 5), "d.weight": torch.randn(4, 8)}, "two.safetensors")
    found = desk.trace_folder(str(tmp_path))
    assert found["edges"] == [] and found["unrelated"][0]["reason"].startswith("different architectures")


def _field(number, value):
    """A protobuf field: a varint below 128, or bytes with their length."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def test_onnx_whose_external_data_is_missing(tmp_path):
    entry = _field(1, b"location") + _field(2, b"m.bin")
    tensor = _field(1, 4) + _field(1, 3) + _field(2, 1) + _field(8, b"w") + _field(13, entry) + _field(14, 1)
    (tmp_path / "m.onnx").write_bytes(_field(1, 8) + _field(7, _field(5, tensor)))
    with pytest.raises(NotFound, match=r"keeps 'w' in 'm\.bin', which is not beside it"):
        desk.read_model(str(tmp_path / "m.onnx"))


def test_gguf_of_a_quantisation_that_nobody_knows(tmp_path):
    kinds = {b"a": 0, b"w": 999}  # 0 is float32
    infos = [struct.pack("<Q", 1) + n + struct.pack("<IQQIQ", 2, 32, 4, k, 0) for n, k in kinds.items()]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(kinds), 0) + b"".join(infos)
    numbers = np.random.default_rng(0).normal(size=128).astype("<f4").tobytes()
    (tmp_path / "m.gguf").write_bytes(head + b"\0" * (-len(head) % 32) + numbers)
    found = desk.read_model(str(tmp_path / "m.gguf"))
    assert any("kind 999" in note for note in found["notes"])


class _CountedFile:
    """Tensors that lie nowhere: each is made when it is asked for, and how many live at once is counted."""

    def __init__(self, tensors):
        self.tensors, self.live, self.most, self.reads = tensors, 0, 0, 0

    def _load(self, name):
        values = self.tensors[name].numpy().copy()
        weakref.finalize(values, self._leave)  # when the last tensor and view on these numbers is gone
        self.live, self.reads = self.live + 1, self.reads + 1
        self.most = max(self.most, self.live)
        return torch.from_numpy(values)

    def _leave(self):
        self.live -= 1

    def bundle(self):
        stored = {
            n: StoredTensor(tuple(t.shape), "float32", partial(self._load, n))
            for n, t in self.tensors.items()
        }
        return WeightBundle(LazyTensors(stored))


@pytest.mark.parametrize("name", ["gpt2", "llama with shared keys", "relu mlp", "gru"])
def test_large_model_is_read_one_tensor_at_a_time(name, monkeypatch):
    model = read_networks.make(name)
    tensors = {n: t.detach() for n, t in model.state_dict().items()}
    held = desk.read_model(_CountedFile(tensors).bundle())
    monkeypatch.setattr(bundle, "HELD", 0)
    file = _CountedFile(tensors)
    found = desk.read_model(file.bundle())
    assert found == held
    assert file.reads > len(tensors)
    assert found["predictions"] or file.most == 1  # a shipped reader that answers takes a network whole


def test_large_models_are_compared_two_tensors_at_a_time(monkeypatch):
    one = {n: t.detach() for n, t in read_networks.make("llama with shared keys").state_dict().items()}
    other = {n: t + 0.1 * torch.randn(t.shape) for n, t in one.items()}
    files = _CountedFile(one), _CountedFile(other)
    monkeypatch.setattr(diff, "_SMALL", 0)  # a large model is not matched neuron by neuron
    expected = compare_checkpoints(one, other)
    monkeypatch.setattr(bundle, "HELD", 0)
    found = compare_checkpoints(*(file.bundle() for file in files))
    assert [file.most for file in files] == [1, 1]
    assert found.layers.equals(expected.layers) and found.distance == expected.distance
