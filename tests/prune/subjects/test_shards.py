import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from digsite.base.errors import DigsiteError, NotFound
from digsite.prune.subjects.shards import INDEX, ShardWriter, list_stored, weights_bytes

TENSORS = {
    "a": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "b": torch.arange(5),
    "c": torch.ones(2, 2, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 3),
}


def test_tensors_are_read_as_safetensors_reads_them(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors", {"format": "pt"})
    found = list_stored(tmp_path)
    assert sorted(found) == sorted(TENSORS) and weights_bytes(found) == sum(
        t.nbytes for t in TENSORS.values()
    )
    for name, entry in found.items():
        assert torch.equal(entry.read(), TENSORS[name]) and entry.read().dtype == TENSORS[name].dtype


def test_what_is_written_has_an_index(tmp_path):
    out = tmp_path / "out"
    writer = ShardWriter(out, flush_bytes=40)
    for name, tensor in TENSORS.items():
        writer.add({name: tensor})
    writer.finish()
    index = json.loads((out / INDEX).read_text())
    assert sorted(index["weight_map"]) == sorted(TENSORS) and len(set(index["weight_map"].values())) > 1
    assert all(
        torch.equal(load_file(out / file)[name], TENSORS[name]) for name, file in index["weight_map"].items()
    )


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(NotFound, match="holds no safetensors"):
        list_stored(tmp_path)
    save_file(TENSORS, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[:-30])
    with pytest.raises(DigsiteError, match="cut short"):
        [entry.read() for entry in list_stored(tmp_path).values()]
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 50)
    with pytest.raises(DigsiteError, match="not a safetensors file"):
        list_stored(tmp_path)
