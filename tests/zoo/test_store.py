"""Shards hold what was written, and whatever is missing is one sentence."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.zoo import Architecture, Part, Zoo, ZooWriter
from digsite.zoo.store import locate_zoo

WIDE = Architecture({"kind": "a"}, ("w", "b"), ((2, 3), (2,)), {})
TALL = Architecture({"kind": "b"}, ("w", "s"), ((5,), ()), {"u": "w"})


def part(shape: Architecture, first: int, n: int) -> Part:
    g = torch.Generator().manual_seed(first)
    rows = {step: torch.rand(n, shape.width, generator=g) for step in (0, 10)}
    table = pd.DataFrame(
        {"member": range(first, first + n), "test_accuracy": np.linspace(0, 1, n), "n_test": 100}
    )
    return Part(shape, first, rows, table)


@pytest.fixture
def folder(tmp_path):
    """Seven members of two architectures in two shards, written out of order."""
    writer = ZooWriter(tmp_path / "zoo", "seven", (0, 10), {"seed": 0})
    writer.begin()
    writer.write(1, [part(TALL, 5, 2)])
    writer.write(0, [part(WIDE, 0, 3), part(TALL, 3, 2)])
    writer.finish(2)
    return tmp_path / "zoo"


def test_members_come_back_bit_equal(folder):
    zoo = Zoo.open(folder)
    assert len(zoo) == 7 and len(zoo.index.architectures) == 2 and zoo.steps == (0, 10)
    stored = part(TALL, 5, 2).rows[10][1]
    member = zoo.member(6)
    assert torch.equal(torch.cat([t.flatten() for t in member.tensors.values()]), stored)
    assert member.tensors["s"].shape == (1,) or member.tensors["s"].shape == ()
    assert torch.equal(member.state_dict()["u"], member.tensors["w"])
    assert torch.equal(zoo.member(1, step=0).tensors["w"], part(WIDE, 0, 3).rows[0][1, :6].view(2, 3))
    assert zoo.labels["architecture"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert zoo.labels["member"].tolist() == list(range(7))


def test_one_index_one_table_and_shards_are_all_that_is_left(folder):
    assert sorted(p.name for p in folder.iterdir()) == [
        "00000.safetensors",
        "00001.safetensors",
        "members.csv",
        "zoo.json",
    ]


def test_a_half_made_zoo_keeps_its_shards_and_its_recipe(tmp_path):
    writer = ZooWriter(tmp_path, "half", (0, 10), {"seed": 0, "members": 4})
    writer.begin()
    writer.write(0, [part(WIDE, 0, 3)])
    again = ZooWriter(tmp_path, "half", (0, 10), {"seed": 0, "members": 4})
    again.begin()
    assert again.has(0) and not again.has(1)
    with pytest.raises(UsageError, match="another recipe: members differ"):
        ZooWriter(tmp_path, "half", (0, 10), {"seed": 0, "members": 5}).begin()


def test_what_is_missing_is_named(folder):
    zoo = Zoo.open(folder)
    with pytest.raises(NotFound, match="no member 7: it has 7"):
        zoo.member(7)
    with pytest.raises(UsageError, match=r"no checkpoint at step 3. Accepted: 0, 10"):
        zoo.member(0, step=3)
    with pytest.raises(UsageError, match="2 architectures"):
        zoo.params.sum()
    (folder / "members.csv").rename(folder / "kept")
    with pytest.raises(NotFound, match="has no labels: members.csv"):
        Zoo.open(folder)
    (folder / "kept").rename(folder / "members.csv")
    (folder / "00001.safetensors").unlink()
    with pytest.raises(NotFound, match="lacks 1 of its 2 shards, the first is '00001.safetensors'"):
        Zoo.open(folder)


def test_a_cut_shard_and_a_newer_schema_are_sentences(folder):
    shard = folder / "00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(DigsiteError, match="cannot be read"):
        Zoo.open(folder).member(0)
    index = json.loads((folder / "zoo.json").read_text())
    (folder / "zoo.json").write_text(json.dumps({**index, "schema": 9}))
    with pytest.raises(UsageError, match="schema 9"):
        Zoo.open(folder)


def test_a_table_with_other_members_is_refused(folder):
    table = pd.read_csv(folder / "members.csv")
    table.iloc[:-1].to_csv(folder / "members.csv", index=False)
    with pytest.raises(DigsiteError, match="7 members and 6 rows"):
        _ = Zoo.open(folder).labels


def test_a_zoo_that_is_not_there(tmp_path):
    with pytest.raises(NotFound, match="There is no zoo 'nothing'"):
        locate_zoo("nothing")
