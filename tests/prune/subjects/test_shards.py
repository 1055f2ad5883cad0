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


def test_a_missing_shard_and_an_index_that_leaves_its_folder_are_refused(tmp_path):
    save_file({"a": torch.ones(2, 2)}, tmp_path / "model-1.safetensors")
    table = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": table}))
    with pytest.raises(NotFound, match="lacks 1 of its 2 weight files, the first is 'model-2.safetensors'"):
        list_stored(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {**table, "b": "model-1.safetensors"}}))
    with pytest.raises(DigsiteError, match="1 of 2 tensors that its index lists are in none of its files"):
        list_stored(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "../model-1.safetensors"}}))
    with pytest.raises(DigsiteError, match="points outside of its folder"):
        list_stored(tmp_path)
