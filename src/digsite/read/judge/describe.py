"""One model's features as a named row, and its spectra with a word on where they are too short."""

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.base.contract import public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.read.core.feature_engine import find_extractor, learns_from_zoo
from digsite.read.core.graph import Graph
from digsite.read.core.plain import to_plain_names, view_plain
from digsite.read.core.plan_transformer import kind_by_name
from digsite.read.core.population import Population, stack_models, tabulate_features
from digsite.read.core.reader import list_readers
from digsite.read.core.readers.spectra import as_matrices, singular_values
from digsite.read.judge.condition import check_matrix
from digsite.weights.bundle import LazyTensors, empty_tensors, shape_of

_SIDE = 512
MIN_VALUES = 50  # fewer eigenvalues than this carry no tail worth an exponent


@public_method()
def features(model: Any, kind: str = "statistics") -> pd.Series:
    """One network's features with their names: a module, a dict of tensors or a bundle as `model`.

    Kinds that learn from a zoo first need a reader: `load_reader`.

    `kind` is a reader's name, as `digsite describe readers` lists them.
    """
    if kind not in list_readers():
        raise UsageError(f"There are no features '{kind}'.", hint=name_nearest(kind, list_readers()))
    extract = find_extractor(kind)
    if extract is None or learns_from_zoo(kind):
        raise UsageError(
            f"'{kind}' learns from a zoo, so it has no features of a single model.",
            hint="Train it with train_reader(zoo, kind=...). Without a zoo: statistics, spectra, neurons.",
        )
    table = tabulate_features(stack_models([model]), extract)
    return pd.Series(table.values[0], index=list(table.names))


def describe_layers(people: Population, which: int = 0) -> pd.DataFrame:
    """Each weight matrix of network number `which`: shape, norm, ranks, and a tail exponent where there are values for it.

    Beside the exponent stands what a random matrix of the same form gives, without which it says nothing.
    """
    group = next(g for g in people.groups if which in g.rows)
    row = int(np.flatnonzero(group.rows == which)[0])
    everything: Mapping[str, Tensor]
    if isinstance(group.stored, LazyTensors):
        everything = view_plain(group.stored)
    else:
        everything = {**to_plain_names(group.stored), **group.tensors}
    kinds = listed_tensors(group.graph, empty_tensors(everything))
    return pd.DataFrame([_describe_layer(n, kind, everything[n][row : row + 1]) for n, kind in kinds.items()])


def _describe_layer(name: str, kind: str, weight: Tensor) -> dict[str, Any]:
    """One row: `weight` is (1, out, ...)."""
    s = singular_values(as_matrices(weight))[0].numpy()
    power = s**2 / max((s**2).sum(), 1e-30)  # a matrix of zeros has no direction, and rank 0
    checked = check_matrix(name, weight[0])
    return {
        "layer": name,
        "kind": kind,
        "shape": "x".join(map(str, weight.shape[1:])),
        "norm": float(np.sqrt((s**2).sum())),
        "top": float(s[0]),
        "stable_rank": float((s**2).sum() / max(s[0] ** 2, 1e-30)),
        "effective_rank": float(np.exp(-(power * np.log(power.clip(1e-30))).sum())),
        "values": len(s),
        "tail_exponent": estimate_tail(s),
        "random_tail": random_tail(*_thinned_sides(weight[0])),
        "beyond_random": "too small" if checked is None else f"z {max(checked.z):.1f}",
    }


_IN_ATTENTION = {
    "qk": ("query", "key"),
    "vo": ("attention output", "value"),
    "lora": ("low-rank a", "low-rank b"),
}


_SPEAKING = {"query", "query, key and value", "state space"}


def listed_tensors(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Every matrix with what it is: products of two list both factors, and matrices outside of the graph are listed too."""
    listed: dict[str, str] = {}
    for block in graph.blocks:
        words = _IN_ATTENTION.get(block.kind, (block.kind,) * len(block.tensors))
        for name, kind in zip(block.tensors, words):
            listed.setdefault(name, kind)
    named = {name: kind_by_name(name, tensor.ndim - 1) for name, tensor in tensors.items()}
    # A plain chain may call its maps what it likes; with attention or a state space among them, names mean what they say.
    speaks = bool(_SPEAKING & set(named.values()))
    listed = {
        name: named.get(name, "") if speaks and named.get(name) else kind for name, kind in listed.items()
    }
    for name, tensor in tensors.items():
        if tensor.ndim > 2 and min(tensor.shape[1], tensor[0, 0].numel()) > 1:
            word = named[name] if speaks or named[name] == "convolution" else ""
            listed.setdefault(name, f"{word}, not placed in the graph".removeprefix(", "))
    return listed


def read_share(people: Population, which: int = 0) -> float:
    """Share of a network's weights that its graph uses; the rest is listed with a reason."""
    group = next(g for g in people.groups if which in g.rows)
    used, total = (
        sum(prod(shape_of(tensors, name)[1:]) for name in tensors)
        for tensors in (group.tensors, group.stored)
    )
    return used / max(1, total)


def _thinned_sides(weight: Tensor) -> tuple[int, int]:
    """Keeping their ratio."""
    flat = weight.flatten(1)
    share = min(1.0, _SIDE / max(flat.shape))  # the exponent depends on the ratio of the sides
    return max(1, round(share * len(flat))), max(1, round(share * flat.shape[1]))


@lru_cache(maxsize=256)
def random_tail(rows: int, columns: int) -> str:
    """The exponent that a random matrix of this form (sides of at most 512) gives: what a tail must be set against."""
    if min(rows, columns) < MIN_VALUES:
        return "-"
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    return estimate_tail(torch.linalg.svdvals(drawn).double().numpy())


def estimate_tail(s: np.ndarray) -> str:
    """Hill's estimate of the power-law exponent of the eigenvalues with its standard error.

    `s` (values,) are singular values; those of a matrix of low rank end in zeros, which are no tail, and fewer than 50
    others have none worth a number.
    """
    s = s[s > 1e-6 * s.max(initial=0.0)]
    if len(s) < MIN_VALUES:
        return f"too few values ({len(s)})"
    top = np.sort(s**2)[::-1][: max(10, len(s) // 4) + 1]
    hill = np.log(top[:-1] / top[-1]).mean()
    alpha = 1 + 1 / hill
    return f"{alpha:.1f} ± {(alpha - 1) / np.sqrt(len(top) - 1):.1f}"
