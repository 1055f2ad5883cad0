"""Smaller models: the sizes that were asked for, what removed units said is gone, and the family still runs them."""

import copy

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.prune.core.smaller import Smaller, geometry_of, shrink_model
from digsite.prune.judge.cost import SpeedRatio, compare_speed


@pytest.fixture
def hf():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config).eval()


def rows(n=6, length=20, vocab=40):
    return torch.randint(0, vocab, (n, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "plan", [Smaller(0.5), Smaller(0.25, heads=False), Smaller(0.0, layers=1), Smaller(0.5, 1)]
)
def test_the_saved_folder_is_smaller_loads_and_generates(hf, tmp_path, plan):
    transformers = pytest.importorskip("transformers")
    before = sum(p.numel() for p in hf.parameters())
    kept = shrink_model(hf, rows(), plan)
    hf.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert sum(p.numel() for p in again.parameters()) < before
    assert len(kept["layers"]) == again.config.num_hidden_layers == 3 - plan.layers
    with torch.no_grad():
        torch.testing.assert_close(again(rows()).logits, hf(rows()).logits)
    assert again.generate(rows(1, 4), max_new_tokens=5, do_sample=False).shape == (1, 9)


def test_units_that_say_nothing_are_the_ones_that_go(hf):
    """Silence a group of heads and half of the neurons: without them the model is the same function."""
    with torch.no_grad():
        for layer in hf.model.layers:
            layer.self_attn.o_proj.weight[:, :16] = 0
            layer.mlp.down_proj.weight[:, ::2] = 0
        wanted = hf(rows()).logits
        kept = shrink_model(hf, rows(), Smaller(0.5))
        torch.testing.assert_close(hf(rows()).logits, wanted, rtol=1e-3, atol=1e-4)
    assert kept["groups"]["model.layers.0"] == [1]
    assert kept["neurons"]["model.layers.2"] == list(range(1, 48, 2))


def test_a_refit_is_nearer_than_a_cut_and_a_choice_nearer_than_chance(llama, tokens):
    def off(**plan) -> float:
        model = llama()
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())) * 0.3)
            wanted = model(tokens(20))
            shrink_model(model, tokens(20), Smaller(0.5, heads=False, **plan))
            return float((model(tokens(20)) - wanted).square().mean())

    assert off() < off(refit=False)
    assert off(refit=False) < off(refit=False, choice="random")


def test_our_own_llama_keeps_its_config_true(llama, tokens):
    model = llama()
    shrink_model(model, tokens(), Smaller(0.5, heads=False, layers=1))
    assert (model.config.d_mlp, model.config.n_layers, model.config.n_heads) == (12, 1, 2)
    assert geometry_of(model).d_mlp == 12 and model(tokens()).isfinite().all()


def test_what_cannot_be_made_smaller_is_said(mlp, llama, tokens):
    with pytest.raises(UsageError, match="Llama-like"):
        shrink_model(mlp, torch.zeros(3, 12, dtype=torch.long), Smaller())
    with pytest.raises(UsageError, match="outside"):
        shrink_model(llama(), tokens(), Smaller(1.5))
    with pytest.raises(UsageError, match="2 layers cannot be removed from a model of 2"):
        shrink_model(llama(), tokens(), Smaller(0.0, layers=2))


def test_speed_is_the_ratio_of_medians(llama, tokens):
    assert SpeedRatio((2.0, 4.0, 3.0), (1.0, 2.0, 2.0)).ratio == 1.5
    model = llama()
    measured = compare_speed(model, copy.deepcopy(model), tokens(), repeats=2)
    assert len(measured.ratios) == 2 and measured.ratio > 0
