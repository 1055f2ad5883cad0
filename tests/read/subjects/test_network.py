import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.read.subjects.network import network_of, pair_names, read_networks


def test_statistics_counters_and_masks_are_no_weights():
    tensors = {
        "conv.weight": torch.randn(4, 3, 3, 3),
        "bn.running_var": torch.ones(4),
        "bn.num_batches_tracked": torch.tensor(7),
        "h.0.attn.bias": torch.ones(1, 1, 5, 5).tril(),
        "pos_embed": _sinusoid(10, 8),
        "c_attn.bias": torch.zeros(4),
    }
    found = network_of("n", tensors)
    assert set(found.weights) == {"conv.weight", "c_attn.bias"} and found.counters == {
        "bn.num_batches_tracked": 7
    }
    assert set(found.buffers) == {"bn.running_var", "h.0.attn.bias", "pos_embed"}


def _sinusoid(length, width):
    angle = torch.arange(length)[:, None] / 10_000 ** (torch.arange(width // 2) / (width // 2))
    return torch.cat([angle.sin(), angle.cos()], 1)


def test_names_are_paired_across_wrappers():
    w = torch.randn(3, 4)
    a, b = network_of("a", {"module.fc.weight": w}), network_of("b", {"fc.weight": w})
    assert pair_names(a, b) == {"fc.weight": "fc.weight"}
    c = network_of("c", {"bert.fc.weight": w, "bert.x.weight": torch.randn(2, 2)})
    assert pair_names(a, c) == {"fc.weight": "bert.fc.weight"}
    assert pair_names(c, network_of("d", {"q.weight": torch.randn(9, 9)})) == {}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [({"w": torch.full((2, 2), torch.nan)}, "NaN or infinite"), ({"b": torch.zeros(3)}, "no weight matrix")],
)
def test_refusals(tensors, words):
    with pytest.raises(UsageError, match=words):
        network_of("n", tensors)


def test_files_and_folders_and_what_is_left_out(tmp_path):
    save_file({"w": torch.randn(4, 4)}, tmp_path / "a.safetensors")
    (tmp_path / "b").mkdir()
    save_file({"w": torch.randn(4, 4)}, tmp_path / "b" / "model.safetensors")
    save_file({"w": torch.full((4, 4), torch.nan)}, tmp_path / "c.safetensors")
    (tmp_path / "notes.md").write_text("no model")
    found = read_networks(tmp_path)
    assert [n.name for n in found.networks] == ["a", "b"]
    assert found.left_out[0][0] == "c.safetensors" and "NaN" in found.left_out[0][1]


def test_one_model_is_too_few(tmp_path):
    save_file({"w": torch.randn(4, 4)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="holds 1 model; a lineage needs at least two"):
        read_networks(tmp_path)
    with pytest.raises(NotFound):
        read_networks(tmp_path / "none")
