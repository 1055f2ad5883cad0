import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models.opening import open_model
from digsite.prune.core import layers
from digsite.prune.core.walk import blocks_in, walk_blocks


def by_hand(model, tokens, name):
    """Gram matrix of a map's inputs from one plain forward of the whole batch."""
    seen = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(tokens)
    handle.remove()
    x = seen[0].flatten(0, -2).double()
    return x.T @ x


@pytest.mark.parametrize("n", [5, 16])  # 16 sequences of 16 tokens: rotary tables look like a batch
def test_every_map_sees_the_inputs_of_the_whole_model(llama, tokens, n):
    model, batch, seen = llama(), tokens(n), {}
    walk_blocks(model, layers.list_blocks(model), batch, lambda block, statistics: seen.update(statistics))
    assert len(seen) == 14
    for name in ("model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"):
        assert seen[name].n_sequences == n and seen[name].n_tokens == n * 16
        torch.testing.assert_close(
            seen[name].gram.double() * n, by_hand(model, batch, name), rtol=1e-4, atol=1e-6
        )
    shared = [seen[f"model.layers.0.self_attn.{p}_proj"] for p in "qkv"]
    assert shared[0] is shared[1] is shared[2], "one tensor, one measurement"


def test_later_layers_see_what_was_changed_before(llama, tokens):
    model, batch, seen = llama(), tokens(), {}

    def visit(block, statistics):
        seen.update(statistics)
        for one in block.maps:
            one.replace(one.weight * 0.5)

    walk_blocks(model, layers.list_blocks(model), batch, visit)
    name = "model.layers.1.self_attn.q_proj"
    torch.testing.assert_close(
        seen[name].gram.double() * 5, by_hand(model, batch, name), rtol=1e-4, atol=1e-6
    )


def test_the_model_is_as_it_was_and_the_vocabulary_is_never_computed(llama, tokens):
    model = llama().train()
    model.lm_head.register_forward_pre_hook(lambda *_: pytest.fail("the head ran"))
    walk_blocks(model, layers.list_blocks(model), tokens(), lambda *_: None)
    assert model.training and "forward" not in vars(model.model.layers[0])


def test_a_map_used_twice_is_measured_at_its_first_use(mlp):
    x, seen = torch.randn(30, 12), {}
    walk_blocks(mlp, layers.list_blocks(mlp), x, lambda block, statistics: seen.update(statistics))
    torch.testing.assert_close(seen["shared"].gram, x.T @ x, rtol=1e-4, atol=1e-4)


def test_what_the_forward_never_reaches_is_named(llama, tokens, mlp):
    model = llama()
    stray = [*layers.list_blocks(model), *layers.list_blocks(mlp)]
    with pytest.raises(UsageError, match="never reached 2 of 4 layers, first 'out'"):
        walk_blocks(model, stray, tokens(), lambda *_: None)


def test_nan_activations_name_the_map(llama, tokens):
    model = llama()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.fill_(torch.nan)
    with pytest.raises(UsageError, match="inputs of 'model.layers.0.mlp.down_proj' are not finite"):
        walk_blocks(model, layers.list_blocks(model), tokens(), lambda *_: None)


def test_short_sequences_pass_through_a_block_together_and_are_counted_one_by_one(llama, tokens, monkeypatch):
    """Groups are for speed alone: the statistics are those of sequences taken one at a time, and no extra row counts."""
    model, batch, found = llama(), tokens(16), {}  # as many rows as tokens
    for at_once in (1, 48, 1024):
        monkeypatch.setattr("digsite.prune.core.walk.AT_ONCE", at_once)
        seen = found[at_once] = {}
        walk_blocks(model, layers.list_blocks(model), batch, lambda _, made, seen=seen: seen.update(made))
    for name, alone in found[1].items():
        for together in (found[48][name], found[1024][name]):
            assert (
                (together.n_sequences, together.n_tokens) == (alone.n_sequences, alone.n_tokens) == (16, 256)
            )
            torch.testing.assert_close(together.square_norms, alone.square_norms, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(together.hessian, alone.hessian, rtol=1e-4, atol=1e-6)


def test_passes_in_bfloat16_are_the_same_up_to_its_eight_bits_and_sums_stay_float32(llama, tokens):
    model, found = llama(), {}
    for precision in ("float32", "bfloat16"):
        seen = found[precision] = {}
        blocks = layers.list_blocks(model)
        walk_blocks(
            model, blocks, tokens(6), lambda _, made, seen=seen: seen.update(made), precision=precision
        )
    for name, exact in found["float32"].items():
        rounded = found["bfloat16"][name]
        assert rounded.hessian.dtype == torch.float32
        torch.testing.assert_close(rounded.norms, exact.norms, rtol=0.03, atol=1e-3)
    assert any(
        (found["bfloat16"][name].norms != exact.norms).any() for name, exact in found["float32"].items()
    )
    with pytest.raises(UsageError, match="The precision 'half' is unknown; accepted are float32, bfloat16"):
        walk_blocks(model, layers.list_blocks(model), tokens(6), lambda *_: None, precision="half")


@pytest.mark.parametrize("family", ["llama", "mixtral", "mamba", "gpt2"])
def test_every_map_is_seen_in_bfloat16_too_and_weights_are_what_they_were(family_folders, family):
    """Maps that no module calls are known by the memory of their weights, of which a cast makes another."""
    model, found = open_model(str(family_folders[family])).module, {}
    before = {name: p.clone() for name, p in model.named_parameters()}
    blocks, ids = layers.list_blocks(model), torch.randint(0, 90, (6, 16))
    for precision in ("float32", "bfloat16"):
        seen = found[precision] = {}
        walk_blocks(model, blocks, ids, lambda _, made, seen=seen: seen.update(made), precision=precision)
    assert found["float32"].keys() == found["bfloat16"].keys() and len(found["float32"]) > 4
    assert {n: s.n_tokens for n, s in found["bfloat16"].items() if "expert" not in n} == {
        n: s.n_tokens for n, s in found["float32"].items() if "expert" not in n
    }
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_blocks_in_bfloat16_answer_nearly_the_same_and_leave_the_head_alone(llama, tokens):
    model, batch = llama().eval(), tokens()
    heads = []
    model.lm_head.register_forward_pre_hook(lambda m, args: heads.append((args[0].dtype, m.weight.dtype)))
    with torch.no_grad():
        exact = model(batch)
        with blocks_in(model, "bfloat16"):
            rounded = model(batch)
        assert torch.equal(model(batch), exact), "nothing is left of it"
        with blocks_in(model, "float32"):
            assert torch.equal(model(batch), exact)
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.02)
    assert set(heads) == {(torch.float32, torch.float32)}
    with pytest.raises(UsageError, match="The precision 'half' is unknown"), blocks_in(model, "half"):
        pass
