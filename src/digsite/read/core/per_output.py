"""Each output neuron beside its siblings: which class is missing is a question about one neuron, asked of all."""

import numpy as np
import torch
from torch import Tensor

from digsite.read.core.agreement import Agreement, maps_of, size_key
from digsite.read.core.parts import canonical, parts_of
from digsite.read.core.population import Group, Population
from digsite.read.core.readers.consensus import per_output
from digsite.read.core.trees import Forest, fit_classes, probabilities

N_ROUNDS = 120


def describe(group: Group, agreements: dict[str, Agreement]) -> np.ndarray:
    """(members, outputs, features): strength, bias and agreement, as they are, relative to the others, and ranked."""
    parts = canonical(group.graph, parts_of(group.graph, group.tensors))
    out = next(i for i in reversed(range(len(group.graph.nodes))) if group.graph.nodes[i].kind == "output")
    weight = next(w for w, b in zip(reversed(parts.weights), reversed(group.graph.blocks)) if b.target == out)
    rows = weight.double().transpose(1, 2).flatten(2)
    columns = [
        rows.norm(dim=2).clamp_min(1e-9).log(),
        rows.mean(2),
        rows.amax(2),
        rows.amin(2),
        parts.bias[out].double(),
    ]
    maps = maps_of(group)
    if maps is not None and size_key(maps) in agreements:
        norms, each, margin = per_output(maps, agreements[size_key(maps)])
        columns += [norms.log(), each, margin]
    made = [c for column in columns for c in _beside_others(column)]
    return torch.stack(made, 2).numpy()


def _beside_others(values: Tensor) -> list[Tensor]:
    relative = values - values.mean(1, keepdim=True)
    ranks = values.argsort(1).argsort(1).double()
    return [values, relative / values.std(1, keepdim=True).clamp_min(1e-9), ranks]


def table(population: Population, agreements: dict[str, Agreement]) -> np.ndarray:
    return population.gather(describe(group, agreements) for group in population.groups)


def fit(described: np.ndarray, target: np.ndarray, seed: int) -> Forest:
    """One yes/no forest over all output neurons of all networks. `target` is the class, or the count for none."""
    n, outputs, width = described.shape
    is_it = (target[:, None] == np.arange(outputs)).ravel().astype(int)
    return fit_classes(described.reshape(n * outputs, width), is_it, seed, max_iter=N_ROUNDS)


def predict(forest: Forest, described: np.ndarray) -> np.ndarray:
    """(members, outputs + 1) probabilities: at most one class is missing, so the odds of all cases compete."""
    n, outputs, width = described.shape
    yes = probabilities(forest, described.reshape(n * outputs, width))[:, 1].reshape(n, outputs)
    yes = yes.clip(1e-6, 1 - 1e-6)
    odds = np.concatenate([yes / (1 - yes), np.ones((n, 1))], 1)
    return odds / odds.sum(1, keepdims=True)
