import read_networks
import torch
from torch import nn

from digsite.read.core.plan_transformer import role_of
from digsite.read.core.population import stack_models


def test_tied_output_is_a_second_block_of_one_tensor():
    model = read_networks.make("gpt2")
    graph = stack_models([model]).groups[0].graph
    ends = {b.kind: b.tensors for b in graph.blocks if b.kind in ("embedding", "unembedding")}
    assert ends["embedding"] == ends["unembedding"] or "lm_head" in ends["unembedding"][0]


def test_shared_keys_keep_their_head_counts():
    graph = stack_models([read_networks.make("llama with shared keys")]).groups[0].graph
    assert {b.heads for b in graph.blocks if b.kind == "qk"} == {(4, 2)}


def test_torch_encoder_layer_is_understood():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    graph = stack_models([layer]).groups[0].graph
    assert [b.kind for b in graph.blocks] == ["qk", "vo", "mlp_in", "mlp_out"]
    assert graph.blocks[0].heads == (2, 2)


def test_unknown_head_count_is_said():
    state = {f"blocks.0.attn.{r}_proj.weight": torch.randn(8, 8) for r in "qkvo"}
    graph = stack_models([state]).groups[0].graph
    assert any("number of heads" in note for note in graph.notes)


def test_roles():
    names = {
        "model.embed_tokens.weight": "embed",
        "h.0.mlp.c_proj.weight": "mlp_out",
        "lm_head.weight": "unembed",
    }
    assert {n: role_of(n) for n in names} == names
