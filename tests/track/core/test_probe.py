"""The same rows at every step, in evaluation mode, and each module's own mode afterwards."""

import pytest
import torch
from torch import nn

from digsite.models import build, parse
from digsite.track.core import probe as probe_module
from digsite.track.core.probe import Probe, as_probe, evaluation_mode


def test_the_same_rows_every_time() -> None:
    probe = Probe(torch.randn(50, 4), n_rows=20)
    model = nn.Linear(4, 3)
    first, second = (probe.run(model, probe_module.targets(model))[0].outputs[""] for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (20, 3)


def test_evaluation_mode_and_back() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4))
    model[1].eval()
    with evaluation_mode(model):
        assert not model.training and not model[0].training
    assert model.training and model[0].training and not model[1].training


def test_pairs_dicts_and_arguments() -> None:
    x, y = torch.randn(6, 4), torch.zeros(6, dtype=torch.long)
    assert as_probe((x, y)).labels is y
    assert as_probe((x, x)).labels is None
    assert as_probe({"input": x}).arguments == ((), {"input": x})


# Rows have the right axis, and attention is really seen: own, nn.MultiheadAttention, and fused kernels.


def test_conv_maps_are_channel_vectors_and_tokens_are_rows() -> None:
    conv = nn.Conv2d(1, 5, 3)
    (target,) = probe_module.targets(conv)
    x = torch.randn(4, 1, 6, 6)
    with probe_module.watching([target]) as captured:
        out = conv(x)
    assert captured.outputs[""].shape == (4 * 4 * 4, 5)
    assert torch.equal(captured.outputs[""][1], out[0, :, 0, 1])
    linear = nn.Linear(3, 7)
    with probe_module.watching(probe_module.targets(linear)) as captured:
        linear(torch.randn(4, 6, 3))
    assert captured.outputs[""].shape == (24, 7)


def test_hooks_are_gone_afterwards() -> None:
    model = nn.Linear(2, 2)
    with probe_module.watching(probe_module.targets(model)):
        assert model._forward_hooks
    assert not model._forward_hooks


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_is_seen(causal: bool) -> None:
    class Fused(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(x, 2 * x, x, is_causal=causal)

    x = torch.randn(2, 3, 5, 4)
    with probe_module.watching([], patterns=Fused()) as captured:
        out = Fused()(x)
    (pattern,) = captured.patterns.values()
    assert torch.allclose(pattern @ x, out, atol=1e-5)
    assert torch.allclose(pattern.sum(-1), torch.ones(2, 3, 5))
    assert (pattern[..., 0, 1:] == 0).all() == causal


def test_multihead_attention_in_an_encoder_layer_is_seen() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    found = probe_module.targets(layer)
    assert "self_attn.out_proj" not in {t.name for t in found}
    captured, _ = Probe(torch.randn(6, 4, 8), n_rows=100).run(layer, found, patterns=True)
    assert captured.patterns["self_attn"].shape == (6, 2, 4, 4)
    assert captured.outputs["self_attn"].shape == (24, 8)


def test_own_transformer_has_patterns_attention_and_residual_stream() -> None:
    model = build(
        parse(
            {"kind": "transformer", "image": (1, 8, 8), "patch": 4, "d_model": 8, "n_heads": 2, "d_mlp": 16}
        )
    )
    found = probe_module.targets(model)
    assert {t.kind for t in found} >= {"linear", "attention", "residual", "norm"}
    captured, _ = Probe(torch.randn(5, 1, 8, 8), n_rows=100).run(model, found, patterns=True)
    assert all(p.shape == (5, 2, 4, 4) for p in captured.patterns.values())
    assert len(captured.patterns) == 2


def test_depth_is_module_order() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    assert [t.name for t in probe_module.targets(model)] == [str(i) for i in range(12)]
