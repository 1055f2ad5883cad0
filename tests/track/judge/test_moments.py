"""Looking inside at a moment: ablations change what they should, differences are after minus before."""

import torch

from digsite.models import build, parse
from digsite.track.core.probe import Probe
from digsite.track.judge import moments

SHAPE = {
    "kind": "transformer",
    "image": (1, 8, 8),
    "patch": 4,
    "d_model": 16,
    "n_heads": 2,
    "d_mlp": 16,
    "n_layers": 1,
}


def seen(model: torch.nn.Module, step: int = 0) -> moments.Moment:
    probe = Probe(
        torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4, n_rows=40
    )
    return moments.look(model, probe, step, torch.Generator().manual_seed(0))


def test_a_head_that_writes_nothing_has_no_effect() -> None:
    model = build(parse(SHAPE))
    attention = model.get_submodule("blocks.0.attn")
    with torch.no_grad():
        attention.o_proj.weight[:, :8] = 0  # head 0 is not read
    found = seen(model).numbers
    assert abs(found["blocks.0.attn/ablate_head_0"]) < 1e-6
    assert abs(found["blocks.0.attn/ablate_head_1"]) > 1e-6
    assert not attention.o_proj._forward_pre_hooks


def test_differences() -> None:
    model = build(parse(SHAPE))
    before = seen(model)
    assert set(moments.difference(before, before).values()) == {0.0}
    with torch.no_grad():
        model.get_submodule("blocks.0.attn.q_proj").weight.mul_(30)
    change = moments.difference(before, seen(model, 5))
    assert change["entropy"] < 0
    assert {"specialization", "distinctness", "sparsity", "loss"} <= set(change)


def test_weights_moved_matches_filters() -> None:
    draw = torch.Generator().manual_seed(0)
    before = {"conv": torch.randn(6, 2, 3, 3, generator=draw), "bias": torch.zeros(6)}
    after = {"conv": before["conv"][torch.randperm(6, generator=draw)], "bias": torch.ones(6)}
    found = moments.weights_moved(before, after, draw)
    assert found["filter_cosine"] > 0.99 > found["filter_cosine_null"]
