import numpy as np
import pytest
import read_networks
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.read.core.graph import (
    Graph,
    NodeSet,
    WeightBlock,
    block_weight,
    free_sets,
    to_canonical_form,
    weigh_graph,
)
from digsite.read.core.population import stack_models
from digsite.read.core.symmetries import SYMMETRIES, change_group


def _graph(block: WeightBlock, source: int, target: int) -> Graph:
    return Graph((NodeSet("a", source, "input"), NodeSet("b", target)), (block,))


def test_grouped_convolution_becomes_its_full_one():
    weight = torch.randn(1, 6, 2, 3, 3)
    full = block_weight(
        _graph(WeightBlock("conv", 0, 1, ("w",), "conv"), 4, 6),
        WeightBlock("conv", 0, 1, ("w",), "conv"),
        {"w": weight},
    )
    x = torch.randn(5, 4, 3, 3)
    grouped = torch.nn.functional.conv2d(x, weight[0], groups=2)[:, :, 0, 0]
    assert torch.allclose(torch.einsum("toi,nit->no", full[0], x.flatten(2)), grouped, atol=1e-5)


def test_head_products_are_what_attention_scores_with():
    q, k = torch.randn(1, 8, 6), torch.randn(1, 4, 6)
    block = WeightBlock("qk", 0, 0, ("q", "k"), "qk", (4, 2))
    products = block_weight(Graph((NodeSet("s", 6, "stream"),), (block,)), block, {"q": q, "k": k})
    x, y = torch.randn(6), torch.randn(6)
    heads_q, heads_k = (q[0] @ x).reshape(4, 2), (k[0] @ y).reshape(2, 2).repeat_interleave(2, 0)
    assert torch.allclose(
        torch.einsum("i,hij,j->h", x, products[0], y), (heads_q * heads_k).sum(1) / 2**0.5, atol=1e-5
    )


def test_low_rank_product():
    a, b = torch.randn(1, 2, 5), torch.randn(1, 3, 2)
    block = WeightBlock("lora", 0, 1, ("a", "b"), "product")
    assert torch.allclose(block_weight(_graph(block, 5, 3), block, {"a": a, "b": b})[0, 0], b[0] @ a[0])


@pytest.mark.parametrize("name", read_networks.ALL)
def test_every_tensor_is_read_or_skipped_with_a_reason(name):
    model = read_networks.make(name)
    group = stack_models([model]).groups[0]
    from digsite.read.core.plain import plain_names

    stored = {n: t[None] for n, t in model.state_dict().items()}
    plain = {p for n in stored for p in plain_names(n, stored)}
    accounted = set(group.graph.read) | {s.tensor for s in group.graph.skipped}
    tied = {n for n in plain if n == "lm_head.weight" and n not in group.tensors}
    assert plain - accounted <= tied
    assert all(s.reason for s in group.graph.skipped)


def _forward(parts, graph, x):
    """A chain of linear blocks with its activations, by hand."""
    act = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "": lambda v: v}
    for block, weight in zip(graph.blocks, parts.weights):
        x = act[graph.nodes[block.target].activation](x @ weight[0, 0].T + parts.bias[block.target][0])
    return x


@pytest.mark.parametrize("name", ["relu mlp", "tanh mlp", "gelu mlp"])
def test_canonical_form_is_the_same_function(name):
    model = read_networks.make(name)
    group = stack_models([model]).groups[0]
    parts = weigh_graph(group.graph, group.tensors)
    x = torch.randn(20, 16)
    for p in (parts, to_canonical_form(group.graph, parts)):
        assert torch.allclose(_forward(p, group.graph, x), model(x), atol=1e-5)


@given(st.integers(0, 1000), st.sampled_from(["relu mlp", "tanh mlp", "small cnn", "wild cnn"]))
def test_canonical_form_forgets_scales_and_signs(seed, name):
    group = stack_models([read_networks.make(name)]).groups[0]
    for symmetry in ("scale", "sign"):
        tensors = SYMMETRIES[symmetry](group, np.random.default_rng(seed))
        if tensors is None:
            continue
        a, b = (
            to_canonical_form(group.graph, weigh_graph(group.graph, g.tensors))
            for g in (group, change_group(group, tensors))
        )
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a.weights + a.bias, b.weights + b.bias))


def test_batch_norm_folds_into_the_convolution_before_it():
    model = read_networks.make("normed cnn")
    group = stack_models([model]).groups[0]
    parts = weigh_graph(group.graph, group.tensors)
    x = torch.randn(2, 1, 5, 5)
    folded = torch.nn.functional.conv2d(
        x, parts.weights[0][0].permute(1, 2, 0).reshape(6, 1, 3, 3), parts.bias[1][0], padding=1
    )
    assert torch.allclose(folded, model.bn1(model.conv1(x)), atol=1e-5)


def test_only_free_sets_are_free():
    assert free_sets(stack_models([read_networks.make("gelu mlp")]).groups[0].graph) == {}
    assert set(free_sets(stack_models([read_networks.make("relu mlp")]).groups[0].graph).values()) == {
        "scale"
    }
