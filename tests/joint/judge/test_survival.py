import math

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.decompose.subjects.compiled import load_program
from digsite.graft.core.nets import list_layers, predict_logits
from digsite.graft.core.operate import plan_method, run_operation
from digsite.joint.judge.survival import (
    ProgramBench,
    build_transformer,
    compare,
    pruned,
    quantized,
    removed,
    shuffle_donor,
)


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


# A program's step in a receiver: what arrives is the program's to the entry.


def bench_of(width: int = 24):
    program = load_program("neighbours")
    ids = program.domain[-1]
    shapes = {"embed.weight": (6, width), "pos.weight": (6, width), "unembed.weight": (6, width)}
    for i in range(2):
        shapes |= {f"blocks.{i}.attn.q.weight": (7, width), f"blocks.{i}.mlp.in.weight": (8, width)}
    receiver = build_transformer(shapes, 7)
    draw = torch.Generator().manual_seed(0)
    for weight in receiver.parameters():
        torch.nn.init.normal_(weight, std=width**-0.5, generator=draw)
    return ProgramBench(program, receiver, ids[::2], ids[1::2])


@pytest.mark.parametrize("way", ["whole", "step"])
def test_a_programs_step_answers_in_a_receiver_and_every_entry_is_accounted_for(way):
    bench = bench_of()
    donor = dict(bench.program.model.state_dict())
    score = bench.score(donor, way)
    assert score["right"] > 99 and score["kept"] == 100 and score["largest change"] < 1e-3
    assert score["differing"] == 0 and score["stray"] == 0
    held = bench.program.truth["matrices"]
    there = [n for n in held if way == "whole" or n.split(".")[0] not in ("embed", "pos")]
    assert score["moved entries"] == sum(held[name]["nonzero"] for name in there)
    assert score["fitted"] == (0 if way == "whole" else 22 * 24)
    lost = bench.score(shuffle_donor(donor, torch.Generator().manual_seed(1)), way)
    assert lost["right"] < 90 and lost["kept"] == 100


def test_a_changed_entry_is_seen_in_the_ledger():
    bench = bench_of()
    donor = dict(bench.program.model.state_dict())
    united = bench.unite(donor, "step")
    name, rows, columns = united.moved["blocks.0.attn.o.weight"]
    united.state[name][rows, columns][0, 0] += 1
    united.state["blocks.0.attn.q.weight"][-1, -1] = 1
    ledger = bench.account(united, donor)
    assert (ledger["differing"], ledger["stray"]) == (1, 1)
    with pytest.raises(UsageError, match="no way 'half'"):
        bench.unite(donor, "half")
