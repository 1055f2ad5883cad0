import numpy as np
import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.prune.subjects.maskstore import model_hash, read_masks, tensor_hash, write_masks
from digsite.weights import write_weights

MASKS = {
    "model.layers.0.mlp.down_proj": np.random.default_rng(0).random((5, 13)) < 0.5,
    "model.layers.1.mlp.down_proj": np.random.default_rng(1).random((5, 13)) < 0.5,
}


@pytest.fixture
def stored(tmp_path):
    write_masks(tmp_path / "masks.safetensors", MASKS, {"method": "wanda", "model_hash": "ab"})
    return tmp_path / "masks.safetensors"


def test_masks_come_back_with_their_provenance(stored):
    found = read_masks(stored)
    assert sorted(found) == sorted(MASKS) and found.provenance["method"] == "wanda"
    assert all((found[name] == MASKS[name]).all() for name in MASKS)
    assert found.find(1, "mlp.down_proj") == "model.layers.1.mlp.down_proj"
    assert stored.stat().st_size < 1500


def test_pruned_weights_are_masks_too(tmp_path):
    weight = torch.tensor([[0.0, -1.0], [2.0, 0.0]])
    write_weights(tmp_path / "w.safetensors", {"w": weight, "bias": torch.ones(2)})
    found = read_masks(tmp_path / "w.safetensors")
    assert (
        list(found) == ["w"]
        and (found["w"] == [[False, True], [True, False]]).all()
        and found.find(7, "any") == "w"
    )


def test_masks_of_another_model_are_refused(stored):
    found = read_masks(stored)
    right = dict.fromkeys(MASKS, (5, 13))
    found.check_model(right)
    with pytest.raises(
        UsageError,
        match=r"another model: 'model.layers.1.mlp.down_proj' is \(5, 13\) in the file and has shape \(5, 14\)",
    ):
        found.check_model(right | {"model.layers.1.mlp.down_proj": (5, 14)})
    with pytest.raises(UsageError, match="does not exist in the model"):
        found.check_model({})


def test_masks_of_other_weights_are_refused_though_the_shapes_agree(stored):
    found, right = read_masks(stored), dict.fromkeys(MASKS, (5, 13))
    found.check_model(right, "ab")
    with pytest.raises(UsageError, match="made from weights ab, and these are cd"):
        found.check_model(right, "cd")


def test_a_model_has_one_hash_in_any_order_and_type():
    a, b = torch.ones(2, 3), torch.zeros(3)
    assert model_hash([("x", a), ("y", b)]) == model_hash([("y", b), ("x", a.bfloat16())])
    assert model_hash([("x", a), ("y", b)]) != model_hash([("x", a), ("y", b + 1)])


def test_a_component_that_is_not_there_is_answered(stored, tmp_path):
    with pytest.raises(
        UsageError, match="no mask of layer 0 'mlp.donw_proj'. Did you mean 'layer 0 mlp.down_proj'"
    ):
        read_masks(stored).find(0, "mlp.donw_proj")
    with pytest.raises(NotFound, match="no mask of 'x'"):
        read_masks(stored)["x"]
    write_weights(tmp_path / "v.safetensors", {"v": torch.ones(3)})
    with pytest.raises(UsageError, match="holds no matrix"):
        read_masks(tmp_path / "v.safetensors")


def test_hashes_tell_values_shapes_and_types_apart():
    a = torch.arange(6.0)
    assert len({tensor_hash([x]) for x in (a, a.view(2, 3), a.double(), a + 1)}) == 4


def test_masks_of_ones_own_are_matrices_in_files_or_a_folder_of_them(tmp_path):
    from digsite.prune.subjects.maskstore import given_masks

    keep = np.arange(24).reshape(4, 6) % 2 == 0
    np.save(tmp_path / "first.npy", keep)
    torch.save(torch.from_numpy(keep * 1.5), tmp_path / "second.pt")
    np.savez(tmp_path / "two.npz", a=keep, dense=np.ones((3, 3)), b=~keep)
    (tmp_path / "notes.txt").write_text("not a mask")
    found = {one.name: one.keep.numpy() for one in given_masks(tmp_path)}
    assert list(found) == ["first", "second", "two/a", "two/b"], "a matrix without zeros is no mask"
    assert all((mask == (keep if name != "two/b" else ~keep)).all() for name, mask in found.items())
    assert [one.name for one in given_masks(tmp_path / "first.npy")] == ["first"]
    np.save(tmp_path / "first.npy", np.ones((3, 3)))
    with pytest.raises(UsageError, match="holds no mask"):
        given_masks(tmp_path / "first.npy")


@pytest.mark.parametrize(
    ("file", "known"),
    [
        ("wanda/layer1-self_attn.v_proj.npy", ("wanda", 1, "self_attn.v_proj")),
        ("layer12-mlp.down_proj.npy", ("", 12, "mlp.down_proj")),
        ("masks-sparsegpt-seed0.npy", ("sparsegpt", 0, "masks-sparsegpt-seed0")),
        ("model.layers.3.mlp.up_proj.npy", ("", 3, "mlp.up_proj")),
    ],
)
def test_what_made_a_mask_is_read_from_its_name(tmp_path, file, known):
    from digsite.prune.subjects.maskstore import given_masks

    (tmp_path / file).parent.mkdir(exist_ok=True)
    np.save(tmp_path / file, np.eye(4))
    (one,) = given_masks(tmp_path)
    assert (one.made_by(["wanda", "sparsegpt", "magnitude"]), one.layer, one.component) == known
