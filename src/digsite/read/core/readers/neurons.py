"""Neuron-level numbers: how strong each neuron's inputs and outputs are, their shapes, and each input and class."""

import numpy as np
import torch
from torch import Tensor

from digsite.read.core.graph import GraphWeights, to_canonical_form, weigh_graph
from digsite.read.core.population import Columns, NetworkGroup, by_layer, join_columns

INVARIANT = ("permutation", "scale", "sign")  # in canonical form; as the weights lie, permutation only
IN_FEATURES = 1
_AT = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
_DIGEST = ("q0", "q25", "q50", "q75", "q100", "mean", "std")
_MEASURES = ("in", "bias", "peak", "tilt", "out", "path")
_SHAPE = ("log_std", "log_kurtosis", "peak", "a10", "a25", "a50", "a75", "a90", "a99")
_IDENTITY_LIMIT = 1024


def extract_neurons(group: NetworkGroup, in_canonical_form: bool = True) -> Columns:
    """Columns of one group: a digest of every layer's neurons, and each named input and output by itself.

    In canonical form nothing here moves under permutation, positive scaling or sign flips of hidden neurons.
    """
    parts = weigh_graph(group.graph, group.tensors)
    parts = to_canonical_form(group.graph, parts) if in_canonical_form else parts
    names = [f"{m}_{d}" for m in _MEASURES for d in _DIGEST] + ["in_out_covariance", *_SHAPE]
    layers = [_describe_layer(group, parts, i) for i in range(len(parts.weights))]
    return join_columns(by_layer(names, layers), _describe_ends(group, parts))


def _describe_layer(group: NetworkGroup, parts: GraphWeights, index: int) -> np.ndarray:
    """Digest of block `index`: per target neuron its incoming weights, its bias, and what leaves it."""
    block, weight = group.graph.blocks[index], parts.weights[index].double().transpose(1, 2).flatten(2)
    log_in = _log_norm(weight, 2)
    square = weight.square()
    peak = (square.square().mean(2) / square.mean(2).square().clamp_min(1e-30)).clamp_min(1e-9).log()
    tilt = weight.mean(2) / weight.std(2, correction=0).clamp_min(1e-12)
    leaving = [
        parts.weights[i] for i, b in enumerate(group.graph.blocks) if b.source == block.target and i != index
    ]
    if leaving:
        out = torch.cat([w.double().flatten(1, 2) for w in leaving], 1)
        log_out = _log_norm(out, 1)
    else:
        log_out = torch.full_like(log_in, torch.nan)
    measures = [log_in, parts.bias[block.target].double(), peak, tilt, log_out, log_in + log_out]
    together = ((log_in - log_in.mean(1, keepdim=True)) * (log_out - log_out.mean(1, keepdim=True))).mean(1)
    return torch.cat(
        [*map(digest_neurons, measures), together[:, None], weight_shape(weight.flatten(1))], 1
    ).numpy()


def digest_neurons(values: Tensor) -> Tensor:
    """(members, 7): five quantiles, mean and spread over neurons, blind to their order."""
    ordered = values.sort(1).values
    position = _AT * (values.shape[1] - 1)
    low, high = position.floor().long(), position.ceil().long()
    quantiles = torch.lerp(ordered[:, low], ordered[:, high], position - low)
    return torch.cat([quantiles, values.mean(1, keepdim=True), values.std(1, correction=0, keepdim=True)], 1)


def weight_shape(values: Tensor) -> Tensor:
    """The form of a weight distribution whatever its scale: initial schemes leave it in weights that moved little."""
    spread = values.std(1, correction=0, keepdim=True).clamp_min(1e-12)
    unit = ((values - values.mean(1, keepdim=True)) / spread).abs()
    ordered = unit.sort(1).values
    at = (torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9, 0.99]) * (values.shape[1] - 1)).long()
    kurtosis = unit.pow(4).mean(1, keepdim=True).clamp_min(1e-9).log()
    return torch.cat([spread.log(), kurtosis, ordered[:, -1:], ordered[:, at]], 1)


def _describe_ends(group: NetworkGroup, parts: GraphWeights) -> Columns:
    """Inputs and outputs have names, so each is a column of its own: strength, peak, bias."""
    made: list[Columns] = []
    graph = group.graph
    for i, block in enumerate(graph.blocks):
        weight = parts.weights[i].double()
        source, target = graph.nodes[block.source], graph.nodes[block.target]
        if source.is_input and source.size <= _IDENTITY_LIMIT:
            columns = weight.flatten(1, 2)
            square = columns.square()
            peak = (square.square().mean(1) / square.mean(1).square().clamp_min(1e-30)).clamp_min(1e-9).log()
            made.append(_columns_by_place("input_norm", _log_norm(columns, 1)))
            made.append(_columns_by_place("input_peak", peak))
        if target.is_output and target.size <= _IDENTITY_LIMIT:
            rows = weight.transpose(1, 2).flatten(2)
            made.append(_columns_by_place("output_norm", _log_norm(rows, 2)))
            made.append(_columns_by_place("output_mean", rows.mean(2)))
            made.append(_columns_by_place("output_bias", parts.bias[block.target].double()))
    return join_columns(*made) if made else ([], np.zeros((len(group), 0)))


def _columns_by_place(name: str, values: Tensor) -> Columns:
    return [f"{name}{i}" for i in range(values.shape[1])], values.numpy()


def _log_norm(weight: Tensor, dim: int) -> Tensor:
    return weight.norm(dim=dim).clamp_min(1e-9).log()
