import torch
from torch import nn

from digsite.models import build, parse
from digsite.models.architectures.sequence import EncoderBlock, GruLayer
from digsite.models.configs.sequence import TransformerConfig


def test_a_block_is_torchs_encoder_layer():
    for norm in ("post", "pre"):
        config = TransformerConfig(d_model=12, n_heads=3, d_mlp=20, norm=norm)
        ours = EncoderBlock(config)
        theirs = nn.TransformerEncoderLayer(12, 3, 20, 0.0, batch_first=True, norm_first=norm == "pre")
        a, t = ours.attn, theirs.self_attn
        with torch.no_grad():
            t.in_proj_weight.copy_(torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight]))
            t.in_proj_bias.copy_(torch.cat([a.q_proj.bias, a.k_proj.bias, a.v_proj.bias]))
        pairs = [(t.out_proj, a.o_proj), (theirs.linear1, ours.mlp_in), (theirs.linear2, ours.mlp_out)]
        for its, mine in pairs:
            its.load_state_dict(mine.state_dict())
        x = torch.rand(2, 5, 12)
        torch.testing.assert_close(ours(x, None), theirs(x), rtol=1e-5, atol=1e-6)


def test_patches_are_cut_row_by_row():
    model = build(parse({"kind": "transformer", "image": (1, 4, 4), "patch": 2, "d_model": 4}))
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert model.patches(x)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_padding_changes_nothing():
    config = {"kind": "transformer", "vocab": 9, "length": 8, "pad": 0, "d_model": 8, "n_classes": 3}
    model = build(parse(config)).eval()
    x = torch.tensor([[3, 4, 5, 0, 0, 0, 0, 0]])
    torch.testing.assert_close(model(x), model(x[:, :3]))


def test_a_hook_sees_the_attention_pattern():
    model = build(parse({"kind": "transformer", "d_model": 8})).eval()
    seen = []
    model.blocks[0].attn.pattern.register_forward_hook(lambda _m, _i, out: seen.append(out))
    model(torch.rand(2, 1, 28, 28))
    assert seen[0].shape == (2, 4, 16, 16)
    torch.testing.assert_close(seen[0].sum(-1), torch.ones(2, 4, 16))


def test_it_is_torchs_gru():
    ours, theirs = GruLayer(5, 7), nn.GRU(5, 7, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(3, 6, 5)
    torch.testing.assert_close(ours(x), theirs(x)[0])
