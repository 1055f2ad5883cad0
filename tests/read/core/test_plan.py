import torch
from torch import nn

from digsite.read.core.population import stack_models


def _graph(model):
    return stack_models([model]).groups[0].graph


def test_order_of_names_does_not_matter():
    model = nn.Sequential(*[nn.Linear(4 + i, 5 + i) for i in range(12)])
    state = model.state_dict()
    shuffled = {k: state[k] for k in sorted(state)}  # "10.weight" before "2.weight"
    assert [b.tensors for b in _graph(shuffled).blocks] == [b.tensors for b in _graph(state).blocks]


def test_layer_that_does_not_fit_is_skipped_aloud():
    graph = _graph({"a.weight": torch.randn(5, 4), "b.weight": torch.randn(3, 7)})
    assert [s.reason for s in graph.skipped] == ["its input width 7 fits no layer before it"]


def test_half_a_low_rank_pair_is_skipped():
    graph = _graph({"x.weight": torch.randn(5, 4), "y.lora_A.weight": torch.randn(2, 4)})
    assert "half of a low-rank pair" in [s.reason for s in graph.skipped]


def test_adapter_alone_has_its_own_sets():
    graph = _graph({"q.lora_A.weight": torch.randn(2, 6), "q.lora_B.weight": torch.randn(8, 2)})
    assert [b.kind for b in graph.blocks] == ["lora"] and [n.size for n in graph.nodes] == [6, 8]


def test_flatten_gives_parallel_edges_by_place():
    graph = _graph({"conv.weight": torch.randn(6, 1, 3, 3), "fc.weight": torch.randn(10, 6 * 4)})
    assert [(b.kind, b.layout) for b in graph.blocks] == [("conv", "conv"), ("spatial", "spatial")]


def test_batch_norm_counter_is_named():
    graph = _graph(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)))
    assert {v.role for v in graph.values} >= {"gain", "shift", "mean", "var", "bias"}
    assert any("num_batches_tracked" in s.tensor for s in graph.skipped)
