"""A network's weights multiplied through from inputs to outputs: what it would compute without its nonlinearities."""

import torch
from torch import Tensor

from digsite.read.core.graph import Graph
from digsite.read.core.parts import Parts


def end_to_end(graph: Graph, parts: Parts) -> Tensor | None:
    """(members, outputs, inputs), kernels summed over their places; None where inputs or outputs have no set.

    In canonical form it does not change under permutation, positive scaling or sign flips of hidden neurons.
    """
    out = next((i for i in reversed(range(len(graph.nodes))) if graph.nodes[i].kind == "output"), None)
    source = next((i for i, n in enumerate(graph.nodes) if n.kind == "input"), None)
    if out is None or source is None:
        return None
    like = parts.weights[0].double()
    start = torch.eye(graph.nodes[source].size, dtype=torch.float64).expand(len(like), -1, -1)
    state: dict[int, Tensor] = {source: start}
    for block, weight in zip(graph.blocks, parts.weights):
        if block.source in state and block.source != block.target:
            sent = weight.double().sum(1) @ state[block.source]
            state[block.target] = state[block.target] + sent if block.target in state else sent
    return state.get(out)


def centered(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Less the mean over outputs, which no softmax sees, and that at unit norm."""
    maps = maps - maps.mean(1, keepdim=True)
    return maps, maps / maps.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
