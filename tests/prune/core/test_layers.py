import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.prune.core import layers


def test_decoder_layers_hold_their_maps_and_the_head_stays(llama):
    found = layers.list_blocks(llama())
    assert [block.name for block in found] == ["model.layers.0", "model.layers.1"]
    assert len(found[0].maps) == 7 and not any("lm_head" in one.name for block in found for one in block.maps)
    assert (
        layers.component_of(found[1].maps[0].name) == "self_attn.q_proj"
        and layers.layer_number(found[1].maps[0].name) == 1
    )


def test_a_plain_network_is_one_block_per_map(mlp):
    assert [(b.name, b.whole) for b in layers.list_blocks(mlp)] == [("shared", True), ("out", True)]


def test_only_some_maps(llama):
    names = [
        m.name
        for b in layers.list_blocks(llama(), include=["mlp.*", "*.q_proj"], exclude=["up_proj"])
        for m in b.maps
    ]
    assert {layers.component_of(n) for n in names} == {"mlp.gate_proj", "mlp.down_proj", "self_attn.q_proj"}
    with pytest.raises(UsageError, match="No map is called 'mlp.donw_proj'. Did you mean 'mlp.down_proj'"):
        layers.list_blocks(llama(), include=["mlp.donw_proj"])
    with pytest.raises(UsageError, match="no linear map"):
        layers.list_blocks(nn.Sequential(nn.ReLU()))


def test_subclasses_of_linear_are_left_alone():
    class Quantized(nn.Linear):
        pass

    assert layers.linear_map("x", Quantized(2, 2)) is None


def test_a_transposed_map_is_seen_the_right_way_round():
    class Conv1D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nf, self.weight = 3, nn.Parameter(torch.arange(6.0).view(2, 3))

    one = layers.linear_map("x", Conv1D())
    assert one is not None and one.weight.shape == (3, 2)
    one.replace(one.weight * 2)
    assert torch.equal(one.module.weight, 2 * torch.arange(6.0).view(2, 3))
