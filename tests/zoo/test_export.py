"""What is exported needs nothing of digsite and holds the same numbers."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.zoo import Architecture, Part, Zoo, ZooWriter
from digsite.zoo.source import describe_member, describe_zoo, export_member, export_zoo


@pytest.fixture
def folder(tmp_path):
    """Three untrained networks of our own kind."""
    config = {"kind": "mlp", "sizes": [4, 3, 2]}
    model = build(parse(config))
    rows = torch.rand(3, sum(p.numel() for p in model.parameters()))
    table = pd.DataFrame({"member": range(3), "test_accuracy": [0.5, 0.6, 0.7], "n_test": 10})
    writer = ZooWriter(tmp_path / "z", "three", (1,), {})
    writer.begin()
    writer.write(0, [Part(Architecture.of(model, config), 0, {1: rows}, table)])
    writer.finish(1)
    return tmp_path / "z"


def test_one_member(folder, tmp_path):
    out = export_member(str(folder), "2", tmp_path / "net.safetensors")
    with safe_open(out, "pt") as stored:
        assert json.loads(stored.metadata()["model"])["sizes"] == [4, 3, 2]
        expected = Zoo.open(folder).module(2).state_dict()
        assert {name: stored.get_tensor(name).tolist() for name in stored.keys()} == {  # noqa: SIM118
            name: value.tolist() for name, value in expected.items()
        }
    with pytest.raises(UsageError, match=r"must end in .safetensors"):
        export_member(str(folder), "2", tmp_path / "net.pt")


def test_a_whole_zoo(folder, tmp_path):
    out = export_zoo(str(folder), tmp_path / "all.npz")
    with np.load(out, allow_pickle=False) as stored:
        assert np.array_equal(stored["params_0"], Zoo.open(folder).params.numpy())
        assert stored["members_0"].tolist() == [0, 1, 2]
        assert stored["names_0"][0] == "layers.0.weight" and json.loads(stored["shapes_0"][0]) == [3, 4]
    assert pd.read_csv(tmp_path / "all.csv")["test_accuracy"].tolist() == [0.5, 0.6, 0.7]


def test_descriptions(folder):
    facts = describe_zoo(str(folder))
    assert facts["members"] == 3 and facts["parameters"] == 23 and facts["files"] == 1
    assert describe_member(str(folder), "1")["test_accuracy"] == 0.6
