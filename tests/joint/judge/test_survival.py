import math

import pytest
import torch

from digsite.graft.core.nets import list_layers, predict_logits
from digsite.graft.core.operate import plan_method, run_operation
from digsite.joint.judge.survival import compare, pruned, quantized, removed


@pytest.mark.parametrize("text", ["union", "direct_copy", "ridge_all data=s n_images=50", "branch data=s"])
def test_a_graft_beside_the_receiver_leaves_no_trace(room, text):
    model = run_operation(plan_method(text), room.pair, room.pools, None, lens=room.lens).model
    x = room.pools.held_old.x
    away = compare(room.pair.receiver, removed(model, [4]), x, [0, 1, 2, 3])
    assert away.agreement == 100 and away.logit_distance < 1e-4
    assert math.isnan(away.weight_distance) if text == "union" else away.weight_distance < 1e-6


def test_moved_weights_stay_moved(room):
    model = run_operation(
        plan_method("distill steps=20 n_images=100"), room.pair, room.pools, None, lens=room.lens
    ).model
    back = removed(model, [4])
    assert compare(room.pair.receiver, back, room.pools.held_old.x, [0, 1, 2, 3]).weight_distance > 0
    assert (predict_logits(back, room.data.test.x).argmax(1) != 4).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_pruning_removes_the_smallest(room, share):
    thin = pruned(room.pair.receiver, share)
    for before, after in list(zip(list_layers(room.pair.receiver).values(), list_layers(thin).values()))[:-1]:
        gone = after.weight == 0
        assert gone.float().mean().item() == pytest.approx(share, abs=0.01)
        if share > 0:
            assert before.weight[gone].abs().max() <= before.weight[~gone].abs().min()


def test_rounding_stays_within_half_a_step(room):
    coarse = quantized(room.pair.receiver, 4)
    for before, after in zip(list_layers(room.pair.receiver).values(), list_layers(coarse).values()):
        step = before.weight.abs().amax(1, keepdim=True) / 7
        assert ((before.weight - after.weight).abs() <= step / 2 + 1e-6).all()
        assert len(torch.unique(after.weight[0])) <= 15
