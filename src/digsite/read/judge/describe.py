"""One model's features as a named row, and its spectra with a word on where they are too short."""

from typing import Any

import numpy as np
import pandas as pd

from digsite.base.errors import UsageError, nearest
from digsite.read.core.feature_engine import member
from digsite.read.core.population import Population, population
from digsite.read.core.reader import kinds
from digsite.read.core.readers.spectra import matrix, singular_values
from digsite.read.core.table import tabulate

MIN_VALUES = 50  # fewer eigenvalues than this carry no tail worth an exponent


def features(model: Any, kind: str = "statistics") -> pd.Series:
    """One network's features with their names. Kinds that learn from a zoo first need a reader: `load_reader`."""
    if kind not in kinds():
        raise UsageError(f"There are no features '{kind}'.", hint=nearest(kind, kinds()))
    module = member(kind)
    if not hasattr(module, "extract") or hasattr(module, "fit"):
        raise UsageError(
            f"'{kind}' learns from a zoo, so it has no features of a single model.",
            hint="Train it with train_reader(zoo, kind=...). Without a zoo: statistics, spectra, neurons.",
        )
    table = tabulate(population([model]), module.extract)
    return pd.Series(table.values[0], index=list(table.names))


def layers(people: Population, which: int = 0) -> pd.DataFrame:
    """Each weight matrix of one network: shape, norm, ranks, and a tail exponent where there are values for it."""
    group = next(g for g in people.groups if which in g.rows)
    row = int(np.flatnonzero(group.rows == which)[0])
    rows = []
    for block in group.graph.blocks:
        name = block.tensors[0]
        s = singular_values(matrix(group.tensors[name][row : row + 1]))[0].numpy()
        power = s**2 / (s**2).sum()
        rows.append(
            {
                "layer": name,
                "kind": block.kind,
                "shape": "x".join(map(str, group.tensors[name].shape[1:])),
                "norm": float(np.sqrt((s**2).sum())),
                "top": float(s[0]),
                "stable_rank": float((s**2).sum() / s[0] ** 2),
                "effective_rank": float(np.exp(-(power * np.log(power.clip(1e-30))).sum())),
                "values": len(s),
                "tail_exponent": tail(s),
            }
        )
    return pd.DataFrame(rows)


def tail(s: np.ndarray) -> str:
    """Hill's estimate of the power-law exponent of the eigenvalues with its standard error."""
    if len(s) < MIN_VALUES:
        return f"too few values ({len(s)})"
    top = np.sort(s**2)[::-1][: max(10, len(s) // 4) + 1]
    hill = np.log(top[:-1] / top[-1]).mean()
    alpha = 1 + 1 / hill
    return f"{alpha:.1f} ± {(alpha - 1) / np.sqrt(len(top) - 1):.1f}"
