"""Flat weights on their principal components, as they lie: what a reader without any structure sees."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from digsite.read.core.population import Columns, NetworkGroup, Population

INVARIANT: tuple[str, ...] = ()
LINEAR_HEAD = True  # directions of a basis are already linear in the weights
N_COMPONENTS = 60
State = dict[str, "Basis"]


@dataclass(frozen=True)
class Basis:
    """Mean and principal directions of a zoo's flat weights."""

    mean: Tensor
    directions: Tensor  # (k, parameters)

    def tensors(self) -> dict[str, Tensor]:
        """For the reader's file."""
        return {"mean": self.mean, "directions": self.directions}


STATE = Basis


def fit_pca(population: Population, quality: np.ndarray, in_canonical_form: bool = False) -> State:
    """One basis per shape, from that shape's members. `quality` plays no part: components know no labels."""
    state = {}
    for group in population.groups:
        flat = _flatten_group(group)
        mean = flat.mean(0)
        k = min(N_COMPONENTS, len(flat) - 1)
        if k < 1:
            continue
        state[shape_key(group)] = Basis(mean, _principal_directions(flat - mean, k))
    return state


def _principal_directions(centered: Tensor, k: int) -> Tensor:
    """(k, parameters), by the randomized method where members are many; its draws come from a stream of their own."""
    if len(centered) <= 2 * k:
        return torch.linalg.svd(centered, full_matrices=False)[2][:k].contiguous()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.svd_lowrank(centered, q=k, niter=2)[2].T.contiguous()


def extract_pca(group: NetworkGroup, in_canonical_form: bool = False, state: State | None = None) -> Columns:
    """(members, components): flat weights less the zoo's mean, along the zoo's directions."""
    basis = (state or {}).get(shape_key(group))
    if basis is None:
        return [], np.zeros((len(group), 0))
    values = (_flatten_group(group) - basis.mean) @ basis.directions.T
    return [f"component{i}" for i in range(values.shape[1])], values.double().numpy()


def shape_key(group: NetworkGroup) -> str:
    """Shapes of all tensors in their order: a basis fits no other network."""
    return ",".join("x".join(map(str, t.shape[1:])) for t in group.tensors.values())


def _flatten_group(group: NetworkGroup) -> Tensor:
    """As the weights lie: a permutation of neurons gives another vector."""
    return torch.cat([t.flatten(1) for t in group.tensors.values()], 1)
