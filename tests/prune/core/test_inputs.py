import pytest
import torch
from model_families import batch_of, make_module
from torch import nn
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.prune.core import layers
from digsite.prune.core.inputs import InputStatistics, collect_inputs
from digsite.prune.core.model import UNROUTED, Recipe, prune_model
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.walk import walk_blocks

X = torch.randn(5, 40, 12, generator=torch.Generator().manual_seed(0))


def test_running_means_are_the_closed_forms():
    found = collect_inputs(X)
    exact = X.double().flatten(0, 1)
    torch.testing.assert_close(found.square_norms.double(), (exact**2).sum(0) / 5, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.hessian.double(), 2 / 5 * exact.T @ exact, rtol=1e-4, atol=1e-4)
    assert (found.n_sequences, found.n_tokens) == (5, 200)


def test_batches_and_single_sequences_agree():
    together = InputStatistics.empty(12)
    together.update(X[:3])
    together.update(X[3:])
    torch.testing.assert_close(together.hessian, collect_inputs(X).hessian, rtol=1e-5, atol=1e-5)
    assert collect_inputs(X[0]).n_sequences == 1


def test_inputs_that_cannot_be_used_are_refused():
    broken = X.clone()
    broken[2, 3, 4] = torch.nan
    with pytest.raises(UsageError, match="not finite in 1 of 12 channels .first: channel 4"):
        collect_inputs(broken)
    with pytest.raises(UsageError, match="got shape"):
        collect_inputs(X[0, 0])
    with pytest.raises(UsageError, match="No calibration inputs reached"):
        InputStatistics.empty(3).checked("'mlp.up_proj'")


@pytest.mark.parametrize("together", [1, 8])
def test_the_sampled_error_is_close_to_the_exact_one_and_no_place_is_preferred(together):
    """First tokens of windows are large here, as in language models: the same places of each would overweight them."""
    from digsite.prune.core.matrix import output_error, relative_error

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 128, 24, generator=generator)
    inputs[:, 0] *= 30
    sampled = InputStatistics.empty(24, gram=False, per_batch=8 * together)
    for windows in inputs.split(together):
        sampled.update(windows)
    assert sampled.sample is not None and sampled.sample.shape == (512, 24)
    weight = torch.randn(16, 24, generator=generator)
    pruned = weight * (torch.rand(16, 24, generator=generator) < 0.5)
    exact = relative_error(weight, pruned, collect_inputs(inputs).gram)
    assert output_error(weight, pruned, sampled) == pytest.approx(exact, rel=0.15)


# Maps that no module call shows: experts of a fused stack, weights that a kernel takes, torch's own attention.


def statistics_of(model, inputs):
    seen = {}
    walk_blocks(model, layers.list_blocks(model), inputs, lambda block, found: seen.update(found), missed=[])
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
    names = [one.name for block in layers.list_blocks(model) for one in block.maps]
    assert len(names) == 12 and "layers.0.self_attn.in_proj.k" in names
    seen = statistics_of(model, x)
    assert set(seen) == set(names)
    rows = x.flatten(0, 1).double()
    found = seen["layers.0.self_attn.in_proj.k"]
    torch.testing.assert_close(found.gram.double() * found.n_sequences, rows.T @ rows, rtol=1e-4, atol=1e-5)
    ledger = prune_model(model, x, Recipe("wanda", SparsityPattern(0.5, 2, 4)))
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
    ledger = {
        line.name: line for line in prune_model(model, ids, Recipe("wanda", SparsityPattern(0.5, 2, 4)))
    }
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
    whole = collect_inputs(torch.cat(inputs))
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
