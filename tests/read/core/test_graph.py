import pytest
import read_networks
import torch

from digsite.read.core.graph import Block, Graph, NodeSet, block_weight
from digsite.read.core.population import population


def _graph(block: Block, source: int, target: int) -> Graph:
    return Graph((NodeSet("a", source, "input"), NodeSet("b", target)), (block,))


def test_grouped_convolution_becomes_its_full_one():
    weight = torch.randn(1, 6, 2, 3, 3)
    full = block_weight(
        _graph(Block("conv", 0, 1, ("w",), "conv"), 4, 6), Block("conv", 0, 1, ("w",), "conv"), {"w": weight}
    )
    x = torch.randn(5, 4, 3, 3)
    grouped = torch.nn.functional.conv2d(x, weight[0], groups=2)[:, :, 0, 0]
    assert torch.allclose(torch.einsum("toi,nit->no", full[0], x.flatten(2)), grouped, atol=1e-5)


def test_head_products_are_what_attention_scores_with():
    q, k = torch.randn(1, 8, 6), torch.randn(1, 4, 6)
    block = Block("qk", 0, 0, ("q", "k"), "qk", (4, 2))
    products = block_weight(Graph((NodeSet("s", 6, "stream"),), (block,)), block, {"q": q, "k": k})
    x, y = torch.randn(6), torch.randn(6)
    heads_q, heads_k = (q[0] @ x).reshape(4, 2), (k[0] @ y).reshape(2, 2).repeat_interleave(2, 0)
    assert torch.allclose(
        torch.einsum("i,hij,j->h", x, products[0], y), (heads_q * heads_k).sum(1) / 2**0.5, atol=1e-5
    )


def test_low_rank_product():
    a, b = torch.randn(1, 2, 5), torch.randn(1, 3, 2)
    block = Block("lora", 0, 1, ("a", "b"), "product")
    assert torch.allclose(block_weight(_graph(block, 5, 3), block, {"a": a, "b": b})[0, 0], b[0] @ a[0])


@pytest.mark.parametrize("name", read_networks.ALL)
def test_every_tensor_is_read_or_skipped_with_a_reason(name):
    model = read_networks.make(name)
    group = population([model]).groups[0]
    from digsite.read.core.plain import plain_names

    stored = {n: t[None] for n, t in model.state_dict().items()}
    plain = {p for n in stored for p in plain_names(n, stored)}
    accounted = set(group.graph.read) | {s.tensor for s in group.graph.skipped}
    tied = {n for n in plain if n == "lm_head.weight" and n not in group.tensors}
    assert plain - accounted <= tied
    assert all(s.reason for s in group.graph.skipped)
