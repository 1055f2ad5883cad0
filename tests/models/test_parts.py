import torch
from torch.nn import functional as F

from digsite.models import parts
from digsite.models.parts import Pattern, attend_heads


def heads(length: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.rand(2, 3, length, 4) for _ in range(3))


def test_the_explicit_form_is_the_fused_one():
    q, k, v = heads(10)
    for causal in (True, False):
        fused = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        torch.testing.assert_close(attend_heads(q, k, v, Pattern(), causal=causal), fused)


def test_long_sequences_are_fused_unless_watched(monkeypatch):
    monkeypatch.setattr(parts, "FUSED_FROM", 8)
    q, k, v = heads(9)
    calls, pattern = [], Pattern()
    fused = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k))
    plain = attend_heads(q, k, v, pattern, causal=True)
    pattern.register_forward_hook(lambda _m, _i, out: calls.append(out))
    watched = attend_heads(q, k, v, pattern, causal=True)
    assert calls[0] == 1 and calls[1].shape == (2, 3, 9, 9) and len(calls) == 2
    torch.testing.assert_close(plain, watched)


def test_a_mask_hides_keys():
    q, k, v = heads(6)
    mask = torch.tensor([[True] * 4 + [False] * 2] * 2)
    visible = F.scaled_dot_product_attention(q, k[..., :4, :], v[..., :4, :])
    torch.testing.assert_close(attend_heads(q, k, v, Pattern(), causal=False, mask=mask), visible)
