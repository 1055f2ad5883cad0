"""Files as other people leave them: bare tensors, nested checkpoints, ONNX, GGUF, Keras, eight-bit floats."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_matrix import small_gguf, small_onnx, write_script
from safetensors.torch import save_file

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.weights import open_weights
from digsite.weights.bundle import say_unread

STATE = {"fc1.weight": torch.arange(48.0).reshape(8, 6), "fc2.weight": torch.arange(32.0).reshape(4, 8)}


def test_onnx_weights_are_named_by_their_nodes_and_turned(tmp_path):
    (tmp_path / "x.onnx").write_bytes(small_onnx(STATE))
    found = open_weights(tmp_path / "x.onnx")
    assert {name: found.shape(name) for name in found.tensors} == {"fc1.weight": (8, 6), "fc2.weight": (4, 8)}
    assert all(torch.equal(found.tensors[name], STATE[name]) for name in STATE)
    assert found.meta["turned"] == ["fc1.weight", "fc2.weight"]


def test_onnx_by_its_own_package(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    draw = np.random.default_rng(0)
    gemm, bias = draw.normal(size=(3, 6)).astype("f"), draw.normal(size=6).astype("f")
    small = draw.integers(-100, 100, (5, 4)).astype(np.int8)
    scale = np.linspace(0.1, 0.5, 5).astype("f")
    parts = [(gemm, "g"), (bias, "b"), (small, "q"), (scale, "s"), (np.zeros(5, np.int8), "z")]
    parts += [(draw.normal(size=(2, 5)).astype(np.float16), "h"), (small, "loose")]
    tensors = [numpy_helper.from_array(array, name) for array, name in parts]
    tensors.append(helper.make_tensor("bf", onnx.TensorProto.BFLOAT16, (2, 2), [1.0, 2.0, 3.0, -4.0]))
    nodes = [
        helper.make_node("Gemm", ["x", "g", "b"], ["y"], transB=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        helper.make_node("MatMulInteger", ["x", "loose"], ["v"]),
    ]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    onnx.save(
        helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)), tmp_path / "x.onnx"
    )
    found = open_weights(tmp_path / "x.onnx")
    assert torch.equal(found.tensors["g"], torch.tensor(gemm)) and found.meta["turned"] == []
    torch.testing.assert_close(found.tensors["q"], torch.tensor(small * scale[:, None]))
    assert (
        found.tensors["bf"].tolist() == [[1.0, 2.0], [3.0, -4.0]]
        and found.tensors["h"].dtype == torch.float16
    )
    assert "loose" in found.meta["unread"] and "s" not in found.tensors
    assert say_unread(found)[0].startswith("not understood: 1 of ")


def test_gguf_names_what_it_does_not_know(tmp_path):
    (tmp_path / "x.gguf").write_bytes(small_gguf())
    found = open_weights(tmp_path / "x.gguf")
    weight = found.tensors["blk.0.weight"]
    assert weight.shape == (4, 64) and torch.equal(weight[0, :32], 0.5 * torch.arange(32.0))
    assert say_unread(found) == [
        "not understood: 1 of 2 entries, 50.0% of the numbers, first 'blk.1.weight' "
        "(quantization kind 99 of GGUF is not known)"
    ]


@pytest.mark.parametrize("name", ["x.onnx", "x.gguf", "x.npz", "x.npy", "x.pt", "x.safetensors"])
@given(cut=st.integers(0, 400), flip=st.integers(0, 400))
def test_a_damaged_file_is_one_sentence(tmp_path_factory, name, cut, flip):
    whole = _whole(name)
    data = bytearray(whole[: max(1, len(whole) - cut)])
    data[flip % len(data)] ^= 255
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(data)
    try:
        bundle = open_weights(path)
        for tensor in bundle.tensors:
            bundle.tensors[tensor]
    except DigsiteError as error:
        assert "\n" not in error.message and len(error.message) < 700


_made: dict[str, bytes] = {}


def _whole(name: str) -> bytes:
    import io

    if name not in _made:
        buffer = io.BytesIO()
        if name == "x.npz":
            np.savez(buffer, a=np.ones((3, 3)))
        elif name == "x.npy":
            np.save(buffer, np.ones((3, 3)))
        elif name == "x.pt":
            torch.save(STATE, buffer)
        elif name == "x.safetensors":
            from safetensors.torch import save

            buffer.write(save(STATE))
        else:
            buffer.write(small_onnx(STATE) if name == "x.onnx" else small_gguf())
        _made[name] = buffer.getvalue()
    return _made[name]


def test_keras_kernels_are_turned_and_the_optimizer_is_left(tmp_path):
    h5py = pytest.importorskip("h5py")
    dense, conv = np.arange(40.0).reshape(8, 5), np.arange(36.0).reshape(3, 3, 1, 4)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"z_conv", b"a_dense"]
        group["z_conv/z_conv/kernel:0"] = conv
        group["a_dense/a_dense/kernel:0"] = dense
        group["a_dense/a_dense/bias:0"] = np.zeros(5)
        file["optimizer_weights/m"] = np.ones(7)
    found = open_weights(tmp_path / "x.h5")
    assert next(iter(found.tensors)).startswith("z_conv"), "the model's own order, not the alphabet's"
    assert torch.equal(found.tensors["a_dense.weight"], torch.tensor(dense.T))
    assert torch.equal(found.tensors["z_conv.weight"], torch.tensor(conv.transpose(3, 2, 0, 1)))
    assert "optimizer_weights/m" in found.meta["unread"]


def test_sides_that_the_file_cannot_hold_are_refused_when_it_opens(tmp_path):
    sides = bytes([8, 6, 8, 8])  # of the first matrix, each behind its field
    content = small_onnx(STATE)
    assert content.count(sides) == 1
    (tmp_path / "x.onnx").write_bytes(content.replace(sides, bytes([8, 7, 8, 8])))
    with pytest.raises(DigsiteError, match="promises 224 bytes and has 192"):
        open_weights(tmp_path / "x.onnx")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("model_weights/a/kernel:0", shape=(2**31, 2**31), dtype="f4", chunks=(64, 64))
    with pytest.raises(DigsiteError, match="would unpack to"):
        open_weights(tmp_path / "x.h5")


def test_bare_and_nested_tensors(tmp_path):
    torch.save(STATE["fc1.weight"], tmp_path / "bare.pt")
    assert list(open_weights(tmp_path / "bare.pt").tensors) == ["bare"]
    torch.save([torch.ones(2, 2), torch.ones(3)], tmp_path / "list.pt")
    assert list(open_weights(tmp_path / "list.pt").tensors) == ["list.0", "list.1"]
    nested = {
        "step": 3,
        "nets": {"actor": {"fc": torch.ones(2, 2)}},
        "optimizer": {"state": {0: torch.ones(2)}},
    }
    torch.save(nested, tmp_path / "nested.pt")
    assert list(open_weights(tmp_path / "nested.pt").tensors) == ["nets.actor.fc"]
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    assert open_weights(tmp_path / "a.npy").tensors["a"].shape == (2, 3)


def test_a_program_is_refused(tmp_path):
    write_script(tmp_path / "x.pt")
    with pytest.raises(DigsiteError, match="TorchScript archive"):
        open_weights(tmp_path / "x.pt")


def test_eight_bit_floats_are_multiplied_by_their_scales(tmp_path):
    small = torch.randn(256, 130).to(torch.float8_e4m3fn)
    scale = torch.rand(2, 2) + 0.5
    save_file({"w": small, "w_scale_inv": scale, "plain": small.clone()}, tmp_path / "x.safetensors")
    found = open_weights(tmp_path / "x.safetensors")
    assert sorted(found.tensors) == ["plain", "w"]
    wanted = small.float() * scale.repeat_interleave(128, 0).repeat_interleave(65, 1)
    torch.testing.assert_close(found.tensors["w"], wanted)
    torch.testing.assert_close(found.tensors["plain"], small.float())
    assert say_unread(found)[0].startswith("no scales beside 1 weights of eight-bit floats, first 'plain'")


def test_a_scale_may_lie_in_another_file_than_its_weight(tmp_path):
    small = torch.randn(6, 4).to(torch.float8_e4m3fn)
    parts = {
        "1.safetensors": {"w": small},
        "2.safetensors": {"w_scale": torch.tensor(3.0), "b": torch.ones(6)},
    }
    for name, tensors in parts.items():
        save_file(tensors, tmp_path / name)
    listed = {tensor: name for name, tensors in parts.items() for tensor in tensors}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    opened = open_weights(tmp_path)
    assert sorted(opened.tensors) == ["b", "w"] and not say_unread(opened)
    assert torch.equal(opened.tensors["w"], 3 * small.float())


@pytest.mark.parametrize("shape", [(3, 3, 3), (5,), (0, 2), (9, 9)])
def test_scales_that_do_not_fit_are_one_sentence(tmp_path, shape):
    """Once the words of Python itself: zip() argument 2 is longer than argument 1."""
    small = torch.ones(4, 4).to(torch.float8_e4m3fn)
    save_file({"w": small, "w_scale_inv": torch.ones(shape)}, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"A weight of shape \[4, 4\] has scales of shape"):
        open_weights(tmp_path / "x.safetensors").tensors["w"]


def test_an_archive_is_unpacked_one_array_at_a_time(tmp_path):
    """Its table is read without unpacking anything, whatever it would grow to."""
    np.savez_compressed(tmp_path / "big.npz", zeros=np.zeros((3000, 3000), np.float32), small=np.ones(3))
    found = open_weights(tmp_path / "big.npz")
    assert found.shape("zeros") == (3000, 3000) and found.tensors["small"].tolist() == [1.0, 1.0, 1.0]


def test_a_sparse_autoencoder_folder(tmp_path):
    (tmp_path / "cfg.json").write_text(json.dumps({"architecture": "standard", "d_in": 4, "d_sae": 8}))
    save_file({"W_enc": torch.ones(4, 8), "W_dec": torch.ones(8, 4)}, tmp_path / "sae_weights.safetensors")
    found = open_weights(tmp_path)
    assert sorted(found.tensors) == ["W_dec", "W_enc"] and found.meta["config"]["d_sae"] == 8


def test_onnx_data_outside_of_the_folder_is_refused(tmp_path):
    from model_matrix import varint

    def field(number, content):
        return varint(number << 3 | 2) + varint(len(content)) + content

    def outside(place):
        pair = field(1, b"location") + field(2, place.encode())
        tensor = varint(1 << 3) + varint(4) + varint(1 << 3) + varint(2) + varint(2 << 3) + varint(1)
        return field(7, field(5, tensor + field(8, b"w") + field(13, pair)))

    (tmp_path / "x.onnx").write_bytes(outside("../secret"))
    with pytest.raises(DigsiteError, match="points outside of its folder"):
        open_weights(tmp_path / "x.onnx").tensors["w"]
    (tmp_path / "y.onnx").write_bytes(outside("lost.bin"))
    with pytest.raises(NotFound, match="which is not beside it"):
        open_weights(tmp_path / "y.onnx").tensors["w"]
