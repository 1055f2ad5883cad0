"""Every engine gives the gradients of plain autograd, on shared and own mini-batches, with and without dropout."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from digsite.base.errors import UsageError
from digsite.base.families import scan_family
from digsite.models import build, parse
from digsite.train import seeds
from digsite.train.engines import choose_plan, cross_entropy, find_loss, next_token, squared_error
from digsite.train.feeds import Batch
from digsite.train.group import MaskedDropout, Masks, mask_shapes, replace_dropout
from digsite.train.layout import Layout, list_untrained
from digsite.train.member import Member

ENGINES = scan_family("digsite.train.engines")
SPECS = {
    "mlp": {"kind": "mlp", "sizes": [36, 7, 6, 5], "dropout": 0.3, "activation": "gelu"},
    "no bias": {"kind": "mlp", "sizes": [36, 7, 5], "bias": False, "activation": "sigmoid"},
    "one layer": {"kind": "mlp", "sizes": [36, 5]},
    "cnn": {"kind": "cnn", "image": [1, 6, 6], "channels": [3], "padding": 1, "n_classes": 5, "dropout": 0.2}
    | {"conv_dropout": 0.2},
    "small cnn": {
        "kind": "small_cnn",
        "width": 4,
        "padding": 1,
        "n_classes": 5,
        "dropout": 0.2,
        "activation": "tanh",
    },
    "wild cnn": {
        "kind": "wild_cnn",
        "channels": [3, 4, 4],
        "skips": [None, 0, 1],
        "n_classes": 5,
        "dropout": 0.2,
    },
}
K, B = 3, 4


def oracle(model, layout, flat, loss, batch, masks):
    """One network at a time, PyTorch's own autograd, dropout masks set by hand."""
    losses, grads, outputs = [], [], []
    for k in range(K):
        with torch.no_grad():
            for name, value in layout.views(flat[k]).items():
                model.get_parameter(name).copy_(value)
        for name, module in model.named_modules():
            if isinstance(module, MaskedDropout):
                module.mask = masks[f"{name}.mask"][k] if masks else torch.ones(())
        x, y = (batch.x, batch.y) if batch.shared else (batch.x[k], batch.y[k])
        model.zero_grad()
        outputs.append(model(x))
        loss(outputs[-1], y).backward()
        losses.append(loss(outputs[-1], y).detach())
        grads.append(torch.cat([model.get_parameter(n).grad.flatten() for n in layout.names]))
    return torch.stack(losses), torch.stack(grads), torch.stack(outputs).detach()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_gradients_and_outputs_equal_autograd(name, shared, kind):
    model = build(parse(SPECS[name])).double().train()
    rates = replace_dropout(model)
    layout = Layout.of(model)
    g = torch.Generator().manual_seed(0)
    flat = 0.5 * torch.randn(K, layout.width, generator=g, dtype=torch.float64)
    lead = (B,) if shared else (K, B)
    x = torch.rand(*lead, 1, 6, 6, generator=g, dtype=torch.float64)
    y = (
        torch.randint(0, 5, lead, generator=g)
        if kind == "classes"
        else torch.rand(*lead, 5, dtype=torch.float64)
    )
    loss, batch = cross_entropy if kind == "classes" else squared_error, Batch(x, y, shared)
    drawn = Masks(seeds(K, Member()), rates, flat)
    drawn.shapes = mask_shapes(model, x if shared else x[0])
    masks = drawn.at(0, K)
    expected = oracle(model, layout, flat, loss, batch, masks)
    without = oracle(model, layout, flat, loss, batch, {})[2]
    for module in model.modules():
        if isinstance(module, MaskedDropout):
            module.mask = torch.ones(())
    tried = 0
    for engine_name, engine in ENGINES.items():
        if not engine.supports(model):
            assert engine_name == "mlp"
            continue
        made, out = engine(model, layout, loss), torch.full_like(flat, torch.nan)
        extras = {
            n: v.expand(K, *v.shape) for n, v in list_untrained(model).items() if not n.endswith("mask")
        }
        losses = made.gradients(flat, extras, batch, masks, out)
        assert torch.allclose(losses, expected[0], rtol=1e-10), engine_name
        assert torch.allclose(out, expected[1], rtol=1e-8, atol=1e-12), engine_name
        assert torch.allclose(made.outputs(flat, extras, x, shared), without, rtol=1e-9), engine_name
        tried += 1
    assert tried >= 3


def test_a_users_loss_and_sequences_go_through_autograd_in_the_mlp_engine():
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    layout = Layout.of(model)
    flat = torch.randn(2, layout.width, dtype=torch.float64)

    def own(outputs, y):
        return (outputs - y).abs().mean()

    batch = Batch(
        torch.rand(2, 3, 5, 4, dtype=torch.float64), torch.rand(2, 3, 5, 2, dtype=torch.float64), False
    )
    for loss in (own, squared_error):
        found = {}
        for name in ("loop", "mlp", "stacked", "vmap"):
            found[name] = torch.zeros_like(flat)
            ENGINES[name](model, layout, loss).gradients(flat, {}, batch, {}, found[name])
        assert all(torch.allclose(value, found["loop"]) for value in found.values())


# The named losses are those of PyTorch.


def test_next_token_predicts_the_following_one():
    logits, tokens = torch.rand(2, 5, 7), torch.randint(0, 7, (2, 5))
    terms = [F.cross_entropy(logits[b, t], tokens[b, t + 1]) for b in range(2) for t in range(4)]
    assert torch.allclose(next_token(logits, tokens), torch.stack(terms).mean())


def test_names():
    assert find_loss("mse")(torch.ones(2), torch.zeros(2)) == 1
    assert find_loss(next_token) is next_token
    with pytest.raises(UsageError, match="unknown loss 'cross_entrop'. Did you mean 'cross_entropy'"):
        find_loss("cross_entrop")


# The choice follows the kind of network, and can be overridden.

CPU = torch.device("cpu")


def plan(kind: str, engine: str | None = None, chunk: int | None = None, count: int = 16, **fields):
    model = build(parse({"kind": kind, **fields}))
    replace_dropout(model)
    return choose_plan(model, Layout.of(model), count, CPU, engine, chunk)


def test_each_kind_has_its_engine():
    assert plan("mlp").engine == "mlp"
    assert plan("small_cnn").engine == "stacked"
    assert plan("transformer", d_model=16).engine == "vmap"
    assert plan("transformer", d_model=16, count=2).engine == "loop"
    assert plan("transformer", d_model=128).engine == "loop"
    assert plan("mlp").chunk > plan("mlp", sizes=[784, 512, 10]).chunk == 4


def test_overrides_and_refusals():
    assert plan("mlp", engine="vmap", chunk=3) == plan("mlp", "vmap", 3)
    assert plan("mlp", engine="vmap", chunk=3).chunk == 3
    with pytest.raises(UsageError, match="unknown engine 'vmpa'. Did you mean 'vmap'"):
        plan("mlp", engine="vmpa")
    with pytest.raises(UsageError, match="'mlp' cannot run SmallCnn"):
        plan("small_cnn", engine="mlp")
