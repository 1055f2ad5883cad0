import pytest
import read_networks
import torch
from torch import nn

from digsite.read.core.plain import stream_width, to_plain_names, to_stored_names, view_plain
from digsite.weights.bundle import LazyTensors, StoredTensor, shape_of


def _stacked(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.detach()[None] for n, t in model.state_dict().items() if t.ndim}


@pytest.mark.parametrize("name", ["gru", "gpt2", "llama with shared keys", "relu mlp"])
def test_restored_is_the_inverse(name):
    stored = _stacked(read_networks.make(name))
    back = to_stored_names(stored, to_plain_names(stored))
    assert all(torch.equal(back[n], t) for n, t in stored.items())


@pytest.mark.parametrize("name", ["gru", "gpt2", "llama with shared keys", "relu mlp"])
def test_view_of_tensors_on_disk_is_the_same(name):
    stored = _stacked(read_networks.make(name))
    lazy = LazyTensors({n: StoredTensor(tuple(t.shape), "float32", lambda t=t: t) for n, t in stored.items()})
    view, plain = view_plain(lazy), to_plain_names(stored)
    assert list(view) == list(plain)
    for n, t in plain.items():
        assert shape_of(view, n) == tuple(t.shape) and torch.equal(view[n], t)


def test_gates_are_told_by_the_recurrent_matrix():
    gru, lstm = _stacked(nn.GRU(8, 12)), _stacked(nn.LSTM(8, 9))
    assert {n[-3:] for n in to_plain_names(gru)} == {"[r]", "[z]", "[n]"}
    assert {n[-3:] for n in to_plain_names(lstm)} == {"[i]", "[f]", "[g]", "[o]"}


def test_fused_attention_of_torch_is_split():
    stored = _stacked(nn.MultiheadAttention(8, 2))
    assert stream_width(stored) == 8
    found = to_plain_names(stored)
    assert torch.equal(found["k_proj.weight"], stored["in_proj_weight"][:, 8:16])


def test_transformer_lens_shapes_are_flattened():
    w = torch.randn(1, 2, 6, 3)  # heads, width, size
    out = torch.randn(1, 2, 3, 6)
    found = to_plain_names({"blocks.0.attn.W_Q": w, "blocks.0.attn.W_O": out})
    assert torch.equal(found["blocks.0.attn.W_Q"][0, 3:], w[0, 1].T)
    assert torch.equal(found["blocks.0.attn.W_O"][0, :, 3:], out[0, 1].T)
