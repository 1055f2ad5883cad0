"""Zoos that others made keep their weights and their published numbers."""

import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.weights import read_weights
from digsite.zoo import Zoo
from digsite.zoo.collect import import_zoo


def test_group_zoo_computes_its_group(data_dir, tmp_path):
    import numpy as np

    zoo = Zoo.open(import_zoo("group_zoo", data_dir / "group_zoo", tmp_path / "zoo"))
    assert len(zoo) == 78 and len(zoo.index.architectures) == 9
    rows = zoo.labels[zoo.labels["file"] == "s5_mlp_hidden_dim_32.npz"]
    table = torch.from_numpy(np.load(data_dir / "group_zoo" / "s5_mlp.npz")["mult_table"]).long()
    for number in rows["member"][:3]:
        w = zoo.member(number).tensors
        pairs = torch.cartesian_prod(torch.arange(120), torch.arange(120))
        joined = torch.cat([w["W_x"][pairs[:, 0]], w["W_y"][pairs[:, 1]]], 1)
        right = ((joined @ w["W"]).relu() @ w["W_U"]).argmax(1) == table[pairs[:, 0], pairs[:, 1]]
        assert right.float().mean().item() == pytest.approx(rows.loc[number, "accuracy_all_pairs"], abs=1e-4)
    assert rows["irrep_standard"].isin([0.0, 1.0]).all()


def test_modular_addition_adds(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    folder = import_zoo("modular_addition")
    zoo = Zoo.open("modular_addition")
    assert zoo.folder == folder and (zoo.labels["accuracy_all_pairs"] == 1).all()
    assert import_zoo("modular_addition") == folder
    assert read_weights("zoo:modular_addition#4").tensors["unembed.weight"].shape == (59, 256)


def test_what_cannot_be_imported(tmp_path):
    with pytest.raises(UsageError, match="no importer 'group_zo'. Did you mean 'group_zoo'"):
        import_zoo("group_zo")
    with pytest.raises(NotFound, match="There is no folder"):
        import_zoo("group_zoo", tmp_path / "nothing")
