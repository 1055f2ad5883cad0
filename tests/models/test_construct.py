import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.models import SCHEMES, build, init
from digsite.models.configs.dense import MlpConfig

WIDE = MlpConfig(sizes=[400, 300, 200])


def first_layer(scheme: str, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return init(build(WIDE), seed, scheme, scale).layers[0].weight.detach()


@pytest.mark.parametrize(
    ("scheme", "scale", "std"),
    [
        ("default", 1.0, 1 / math.sqrt(3 * 400)),
        ("he_normal", 1.0, math.sqrt(2 / 400)),
        ("he", 0.5, 0.5 * math.sqrt(2 / 400)),
        ("he_uniform", 1.0, math.sqrt(2 / 400)),
        ("glorot_normal", 1.0, math.sqrt(2 / 700)),
        ("glorot", 2.0, 2 * math.sqrt(2 / 700)),
        ("normal", 0.03, 0.03),
        ("truncated_normal", 0.03, 0.03 * 0.8796),  # a normal cut at two standard deviations
    ],
)
def test_the_spread_is_the_textbook_one(scheme, scale, std):
    assert first_layer(scheme, scale).std().item() == pytest.approx(std, rel=0.02)


def test_orthogonal_rows():
    w = first_layer("orthogonal", 2.0)
    torch.testing.assert_close(w @ w.T, 4 * torch.eye(300), atol=1e-4, rtol=0)


def test_truncated_is_cut_at_two():
    assert first_layer("truncated", 0.1).abs().max() <= 0.2


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "default"])
def test_a_named_scheme_zeroes_biases(scheme):
    model = init(build(WIDE), 1, scheme, 0.1)
    assert not any(layer.bias.any() for layer in model.layers)


def test_norms_stay_at_one():
    model = init(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4)), 0, "normal", 0.1)
    assert torch.equal(model[1].weight, torch.ones(4)) and torch.equal(model[2].weight, torch.ones(4))


def test_default_equals_torch_for_a_users_module():
    model = nn.Sequential(nn.Linear(50, 40), nn.Conv2d(3, 4, 3), nn.Embedding(9, 5))
    init(model, 3)
    assert model[0].weight.abs().max() <= 1 / math.sqrt(50) and model[1].bias.abs().max() <= 1 / math.sqrt(27)
    assert 0.5 < model[2].weight.std() < 1.5


def test_a_generator_is_used_and_moves_on():
    generator = torch.Generator().manual_seed(4)
    a = init(build(WIDE), generator, "he").layers[0].weight.detach().clone()
    b = init(build(WIDE), generator, "he").layers[0].weight.detach()
    assert torch.equal(a, first_layer("he", seed=4)) and not torch.equal(a, b)


def test_an_unknown_scheme_answers_with_the_nearest():
    with pytest.raises(UsageError, match=r"no initialization scheme 'ortogonal'\. Did you mean 'orthogonal'"):
        init(build(WIDE), 0, "ortogonal")


def test_a_network_without_memory_loads_no_compiler():
    code = (
        "import sys, torch\n"
        "from digsite.models.construct import empty, without_memory\n"
        "from digsite.models.configs.language import LlamaConfig\n"
        "with without_memory(): model = empty(LlamaConfig(vocab=9, d_model=8, d_mlp=8, n_layers=1))\n"
        "print('torch._dynamo' in sys.modules, {p.device.type for p in model.parameters()})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "{'meta'}"]
