"""Zoos that others made keep their weights and their published numbers."""

import collections
import json
import os
import sys
import types
from typing import Any

import pytest
import torch

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.weights import read_weights
from digsite.zoo import Zoo
from digsite.zoo.importers import import_zoo


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


def small_cnn_folder(folder, networks):
    """Networks of ours as the Small CNN Zoo stores them: variables in Keras's shapes, two checkpoints each."""
    import numpy as np
    import pandas as pd

    names = [("conv2d", 4), ("conv2d_1", 4), ("conv2d_2", 4), ("dense", 2)]
    rows, metrics, layout, start = [], [], [], 0
    for k, net in enumerate(networks):
        parts = []
        for (name, ndim), layer in zip(names, [*net.convs, net.head], strict=True):
            kernel = layer.weight.detach().permute(2, 3, 1, 0) if ndim == 4 else layer.weight.detach().T
            parts += [
                (f"sequential/{name}/bias:0", layer.bias.detach()),
                (f"sequential/{name}/kernel:0", kernel),
            ]
        if not layout:
            for name, tensor in parts:
                layout.append(
                    {
                        "varname": name,
                        "start_idx": start,
                        "end_idx": start + tensor.numel(),
                        "shape": str(tuple(tensor.shape)),
                    }
                )
                start += tensor.numel()
        flat = torch.cat([tensor.flatten() for _, tensor in parts])
        for step, scale in ((0, 0.0), (86, 1.0)):
            rows.append((flat * scale).numpy())
            metrics.append(
                {
                    "config.activation": net.config.activation,
                    "config.learning_rate": 0.01,
                    "modeldir": f"m{k}",
                    "step": step,
                    "test_accuracy": 0.1 * k,
                    "train_accuracy": 0.2 * k,
                }
            )
    np.save(folder / "weights.npy", np.stack(rows))
    pd.DataFrame(metrics).to_csv(folder / "metrics.csv.gz")
    pd.DataFrame(layout).to_csv(folder / "layout.csv")


def test_the_small_cnn_zoo_as_published(tmp_path):
    from digsite.models import build, parse

    kinds = ("relu", "tanh", "relu")
    networks = [build(parse({"kind": "small_cnn", "activation": a}), seed=k) for k, a in enumerate(kinds)]
    (tmp_path / "mnist").mkdir()
    small_cnn_folder(tmp_path / "mnist", networks)
    zoo = Zoo.open(import_zoo("small_cnn_zoo", tmp_path / "mnist", tmp_path / "zoo"))
    assert len(zoo) == 3 and zoo.labels["test_accuracy"].tolist() == [0.0, 0.2, 0.1]
    for member, k in enumerate((0, 2, 1)):
        found = zoo.member(member).tensors
        assert all(torch.equal(found[name], p) for name, p in networks[k].named_parameters()), (
            "the last checkpoint"
        )
    (tmp_path / "mnist" / "layout.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DigsiteError, match="names, starts, ends and shapes are needed"):
        import_zoo("small_cnn_zoo", tmp_path / "mnist", tmp_path / "other")


def test_a_tree_of_checkpoints_with_numbers_beside_them(tmp_path):
    for k in range(3):
        for step in (1, 20, 3):
            folder = tmp_path / "zoo" / f"net_{k}" / f"checkpoint_{step:06d}"
            folder.mkdir(parents=True)
            torch.save(
                {"0.weight": torch.full((2, 3), float(step + k)), "0.bias": torch.zeros(2)},
                folder / "checkpoints",
            )
        (tmp_path / "zoo" / f"net_{k}" / "params.json").write_text('{"lr": 0.1, "nested": {"a": 1}}')
        (tmp_path / "zoo" / f"net_{k}" / "result.json").write_text(
            '{"test_acc": 0.1}\n{"test_acc": %s, "train_acc": 1.0}\n' % (k / 4)
        )
    (tmp_path / "zoo" / "README.md").write_text("a collection")
    zoo = Zoo.open(import_zoo("checkpoint_tree", tmp_path / "zoo", tmp_path / "out"))
    assert len(zoo) == 3 and zoo.labels["test_accuracy"].tolist() == [0.0, 0.25, 0.5]
    assert zoo.labels["generalization_gap"].tolist() == [1.0, 0.75, 0.5] and set(zoo.labels["lr"]) == {0.1}
    assert [float(zoo.member(k).tensors["0.weight"][0, 0]) for k in range(3)] == [20.0, 21.0, 22.0], (
        "the last ones"
    )
    (tmp_path / "none").mkdir()
    with pytest.raises(NotFound, match="holds the weights of a network"):
        import_zoo("checkpoint_tree", tmp_path / "none", tmp_path / "third")


def wild_park(folder, config=dict):
    """Two networks of other shapes with two checkpoints each, and the file of splits: the layout of the published archive."""
    splits = {split: {"path": [], "score": [], "step": []} for split in ("train", "val", "test")}
    for k, (split, channels) in enumerate((("train", 4), ("test", 8))):
        for step in (2, 4):
            name = f"cifar10_zooV2/trial_{k}/checkpoint_{step:06d}/checkpoint.pt"
            (folder / name).parent.mkdir(parents=True)
            state = {
                "layers.0.weight": torch.full((channels, 3, 3, 3), float(step)),
                "fc.bias": torch.zeros(10),
            }
            own = {"n_layers": 1, "channels": [3, channels], "activation": ["gelu"], "residual": [-1]}
            kept = {
                "model": state,
                "optimizer": {"state": {0: {"m": torch.ones(2)}}},
                "config": config(own),
                "iteration": step,
            }
            torch.save(
                {**kept, "last_result": {"test/acc": 0.1 * step, "config": {"model": own}}}, folder / name
            )
            splits[split]["path"].append(name)
            splits[split]["score"].append(0.1 * step)
            splits[split]["step"].append(step)
    (folder / "cnn_park_splits.json").write_text(json.dumps(splits))


def test_the_wild_park_as_published(tmp_path):
    wild_park(tmp_path)
    zoo = Zoo.open(import_zoo("wild_park", tmp_path, tmp_path / "out"))
    assert len(zoo) == 4 and zoo.labels["test_accuracy"].tolist() == [0.2, 0.4, 0.2, 0.4]
    assert zoo.labels["split"].tolist() == ["train", "train", "test", "test"]
    assert zoo.labels["network"].tolist() == ["trial_0", "trial_0", "trial_1", "trial_1"]
    assert set(zoo.labels["activation"]) == {"gelu"} and zoo.labels["channels"].tolist()[-1] == "3,8"
    found = zoo.member(3).tensors
    assert found["layers.0.weight"].shape == (8, 3, 3, 3) and float(found["layers.0.weight"][0, 0, 0, 0]) == 4
    (tmp_path / "cifar10_zooV2/trial_0/checkpoint_000002/checkpoint.pt").unlink()
    with pytest.raises(NotFound, match="which is not there"):
        import_zoo("wild_park", tmp_path, tmp_path / "again")
    splits = tmp_path / "cnn_park_splits.json"
    splits.write_text(json.dumps({"train": {"path": ["../x.pt"], "score": [1]}}))
    with pytest.raises(DigsiteError, match="lies outside of its folder"):
        import_zoo("wild_park", tmp_path, tmp_path / "third")
    splits.write_text('{"train": [1]}')
    with pytest.raises(DigsiteError, match="names no path and score under 'train'"):
        import_zoo("wild_park", tmp_path, tmp_path / "fourth")
    splits.unlink()
    with pytest.raises(NotFound, match="holds no '[*]splits.json'"):
        import_zoo("wild_park", tmp_path, tmp_path / "fifth")


def test_settings_of_a_trainer_are_read_and_their_classes_are_not(tmp_path, monkeypatch):
    """The published checkpoints pickle their settings as objects of OmegaConf: names of its classes, and nothing else that runs."""
    modules = {
        name: types.ModuleType(name) for name in ("omegaconf", "omegaconf.dictconfig", "omegaconf.nodes")
    }

    class DictConfig:
        def __init__(self, content):
            self._content = {key: AnyNode(value) for key, value in content.items()}
            self._metadata = {"ref_type": Any, "object_type": dict, "flags": collections.defaultdict(list)}

    class AnyNode:
        def __init__(self, value):
            self._val = value

    for made, home in ((DictConfig, "omegaconf.dictconfig"), (AnyNode, "omegaconf.nodes")):
        made.__module__, made.__qualname__ = home, made.__name__
        setattr(modules[home], made.__name__, made)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    wild_park(tmp_path, DictConfig)
    for name in modules:
        monkeypatch.delitem(sys.modules, name)
    zoo = Zoo.open(import_zoo("wild_park", tmp_path, tmp_path / "out"))
    assert set(zoo.labels["activation"]) == {"gelu"} and not any(name in sys.modules for name in modules)
    path = tmp_path / "cifar10_zooV2/trial_0/checkpoint_000002/checkpoint.pt"
    torch.save({"model": {"w": torch.ones(2)}, "config": os.system}, path)
    with pytest.raises(DigsiteError, match="calls posix.system"):
        import_zoo("wild_park", tmp_path, tmp_path / "again")
