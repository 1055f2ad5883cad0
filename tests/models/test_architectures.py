"""The contract of every architecture that the scan finds."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from digsite.base import families
from digsite.config import Config
from digsite.models import MODELS, build, init, load_model, parse, save_model

# Small enough that a loop over all of them is quick; a new architecture with usable defaults needs no line here.
SMALL = {
    "resid_mlp": {"n_features": 6, "d_resid": 12, "d_mlp": 5, "n_layers": 2},
    "cnn": {"image": (1, 8, 8), "channels": [4, 5], "hidden": [7], "conv_dropout": 0.2, "dropout": 0.2},
    "small_cnn": {"padding": 1, "width": 4, "dropout": 0.1},
    "mlp": {"sizes": [64, 9, 8, 10], "dropout": 0.1},
    "transformer": {"image": (1, 8, 8), "patch": 4, "d_model": 8, "d_mlp": 12, "dropout": 0.1},
    "gru": {"n_inputs": 8, "n_hidden": 6, "dropout": 0.1},
    "llama": {"vocab": 20, "d_model": 16, "d_mlp": 20, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2},
    "gpt2": {"vocab": 20, "d_model": 16, "n_layers": 2, "n_heads": 2, "dropout": 0.1},
    "modular_transformer": {"modulus": 7, "vocab": 7, "d_model": 8, "d_mlp": 12, "n_heads": 2},
    "modular_mlp": {"modulus": 7, "d_embed": 6, "d_hidden": 8, "d_out": 8},
    "toy_transformer": {"vocab": 9, "d_model": 8, "d_head": 4, "d_mlp": 6},
    "token_mlp": {"vocab": 20, "length": 12, "d_embed": 4, "hidden": [8], "dropout": 0.1},
}


def small(kind: str) -> Config:
    return parse({"kind": kind, **SMALL.get(kind, {})})


def example(config: Config, n: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if vocab := getattr(config, "vocab", 0):
        n_tokens = 2 if hasattr(config, "modulus") else getattr(config, "length", 0) or 12
        return torch.randint(vocab, (n, n_tokens), generator=generator)
    if hasattr(config, "modulus"):
        return torch.randint(config.modulus, (n, 2), generator=generator)
    if features := getattr(config, "n_features", 0):
        return torch.rand(n, features, generator=generator)
    return torch.rand(n, 1, 8, 8, generator=generator)


@pytest.fixture(params=sorted(MODELS))
def config(request) -> Config:
    return small(request.param)


def test_every_config_has_its_architecture():
    assert list(MODELS) == families.list_members("digsite.models.architectures")


def test_the_seed_decides_and_the_global_generator_is_left_alone(config):
    before = torch.random.get_rng_state()
    a, b, c = (build(config, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_members_stacked_equal_members_alone(config):
    """Outputs and gradients under vmap: no state in buffers, no control flow on data."""
    models = [build(config, seed).eval() for seed in range(3)]
    inputs = torch.stack([example(config)] * 3)
    params, buffers = stack_module_state(models)
    base = models[0]

    def loss(p, b, x):
        return functional_call(base, (p, b), (x,)).square().mean()

    stacked = vmap(grad(loss))(params, buffers, inputs)
    for i, model in enumerate(models):
        model(inputs[i]).square().mean().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                torch.testing.assert_close(stacked[name][i], parameter.grad, rtol=1e-4, atol=1e-6)


def test_every_weight_is_drawn_anew_by_a_scheme(config):
    model = build(config)
    before = {name: p.clone() for name, p in model.named_parameters() if p.ndim >= 2}
    init(model, 5, "he_normal", 0.5)
    assert before and all(
        not torch.equal(before[name], p) for name, p in model.named_parameters() if name in before
    )
    assert all(p.isfinite().all() for p in model.parameters())


def test_it_can_be_saved_and_built_again(config, tmp_path):
    model, x = build(config, 3).eval(), example(config)
    save_model(tmp_path / "model.safetensors", model)
    again = load_model(str(tmp_path / "model.safetensors"))
    assert torch.equal(model(x), again(x)) and not again.training


def test_dropout_is_settable_after_building(config):
    model, x = build(config), example(config)
    rates = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for module in rates:
        module.p = 0.0
    assert torch.equal(model.train()(x), model.eval()(x))
    for module in rates:
        module.p = 0.5
    if rates:
        assert not torch.equal(model.train()(x), model.eval()(x))


def test_gradients_reach_every_trained_parameter(config):
    model = build(config, 1)
    (model(example(config, 32)) ** 2).sum().backward()
    dead = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not [name for name in dead if "k_proj.bias" not in name]
