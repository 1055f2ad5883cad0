"""Maps that no module call shows: experts of a fused stack, weights that a kernel takes, torch's own attention."""

import pytest
import torch
from model_families import batch_of, make_module
from torch import nn
from torch.nn import functional as F

from digsite.prune.core import layers
from digsite.prune.core.inputs import collect
from digsite.prune.core.model import UNROUTED, Recipe, prune_model
from digsite.prune.core.patterns import Pattern
from digsite.prune.core.walk import walk


def statistics_of(model, inputs):
    seen = {}
    walk(model, layers.blocks(model), inputs, lambda block, found: seen.update(found), missed=[])
    return seen


def test_an_expert_sees_the_tokens_that_its_router_sends(transformers):
    model, batch = make_module("mixtral", transformers), batch_of("mixtral")
    inputs = []
    experts = model.model.layers[0].mlp.experts
    handle = experts.register_forward_pre_hook(lambda _, args: inputs.append(args))
    with torch.no_grad():
        model(**batch)
    handle.remove()
    hidden, index, _ = inputs[0]
    seen = statistics_of(model, batch)
    for expert in range(4):
        mine = hidden[(index == expert).any(1)].double()
        name = f"model.layers.0.mlp.experts.{expert}.gate_up_proj"
        found = seen[name]
        torch.testing.assert_close(
            found.gram.double() * found.n_sequences, mine.T @ mine, rtol=1e-4, atol=1e-5
        )
        gate, up = F.linear(mine.float(), experts.gate_up_proj[expert]).chunk(2, -1)
        after = (F.silu(gate) * up).double()
        down = seen[f"model.layers.0.mlp.experts.{expert}.down_proj"]
        torch.testing.assert_close(
            down.gram.double() * down.n_sequences, after.T @ after, rtol=1e-3, atol=1e-8
        )


def test_a_weight_that_a_kernel_takes_is_seen(transformers):
    """Mamba multiplies by dt_proj.weight itself: its inputs are the first columns of what x_proj gives."""
    model, batch = make_module("mamba", transformers), batch_of("mamba")
    given = []
    mixer = model.backbone.layers[1].mixer
    handle = mixer.x_proj.register_forward_hook(lambda _, __, out: given.append(out))
    with torch.no_grad():
        model(input_ids=batch["input_ids"])
    handle.remove()
    x = given[0][..., : mixer.time_step_rank].flatten(0, 1).double()
    found = statistics_of(model, batch)["backbone.layers.1.mixer.dt_proj"]
    torch.testing.assert_close(found.gram.double() * found.n_sequences, x.T @ x, rtol=1e-3, atol=1e-10)


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_parts_of_torchs_own_attention_are_maps(batch_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, dropout=0.0)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(3, 5, 8)
    names = [one.name for block in layers.blocks(model) for one in block.maps]
    assert len(names) == 12 and "layers.0.self_attn.in_proj.k" in names
    seen = statistics_of(model, x)
    assert set(seen) == set(names)
    rows = x.flatten(0, 1).double()
    found = seen["layers.0.self_attn.in_proj.k"]
    torch.testing.assert_close(found.gram.double() * found.n_sequences, rows.T @ rows, rtol=1e-4, atol=1e-5)
    ledger = prune_model(model, x, Recipe("wanda", Pattern(0.5, 2, 4)))
    assert all(line.sparsity == 0.5 for line in ledger)
    weight = model.layers[0].self_attn.in_proj_weight
    assert (weight == 0).float().mean() == 0.5, "all three parts went into the one parameter"


def test_an_expert_that_no_token_reaches_goes_by_magnitude_and_says_so(transformers):
    model = make_module("mixtral", transformers)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.gate.weight.zero_()
            layer.mlp.gate.weight[:2] = 5 * torch.sign(torch.ones(2, 32))
            layer.mlp.gate.weight[2:] = -5
    ids = batch_of("mixtral")["input_ids"]
    before = {one.name: one.weight.clone() for one in layers.all_maps(model)}
    ledger = {line.name: line for line in prune_model(model, ids, Recipe("wanda", Pattern(0.5, 2, 4)))}
    idle = [line for line in ledger.values() if line.note == UNROUTED]
    assert all(line.sparsity == 0.5 for line in ledger.values()), "2:4 holds in every expert"
    for line in idle:
        weight = before[line.name].abs().reshape(-1, 4)
        kept = line.keep.reshape(-1, 4)
        assert (torch.where(kept, weight, torch.inf).amin(1) >= torch.where(kept, 0, weight).amax(1)).all()
        assert line.relative_error is None


def test_a_layer_that_this_data_never_reaches_is_named_and_left():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])
            self.other = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])

        def forward(self, x):
            for layer in self.seen:
                x = layer(x)
            return x

    ledger = prune_model(Two(), torch.randn(6, 4), Recipe())
    assert [line.sparsity > 0 for line in ledger] == [True, True, False, False]
    assert all("never reaches it" in line.note for line in ledger[2:])


def test_stopping_at_the_last_map_changes_no_statistic(llama, tokens):
    """The output of the last map is left out from the second sequence on."""
    model, batch = llama(1), tokens()
    seen = statistics_of(model, batch)
    inputs = []
    handle = model.model.layers[0].mlp.down_proj.register_forward_pre_hook(
        lambda _, args: inputs.append(args[0])
    )
    with torch.no_grad():
        for row in batch.split(1):
            model(row)
    handle.remove()
    whole = collect(torch.cat(inputs))
    found = seen["model.layers.0.mlp.down_proj"]
    torch.testing.assert_close(found.square_norms, whole.square_norms)
    torch.testing.assert_close(found.hessian, whole.hessian)


def test_what_is_left_alone_adds_up_with_what_is_covered(transformers):
    for family in ("mixtral", "vit", "whisper", "mamba", "gemma2"):
        model = make_module(family, transformers)
        maps = layers.all_maps(model)
        rest = layers.left_alone(model, maps)
        total = sum(p.numel() for p in model.parameters())
        covered = sum(one.size for one in maps)
        assert covered + sum(one.n_parameters for one in rest) == total, family
        assert sum(one.share for one in rest) == pytest.approx(1 - covered / total)
