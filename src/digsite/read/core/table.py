"""Feature tables: a number per name and network, whatever the depth of the networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from digsite.read.core.population import Group, Population

Columns = tuple[list[str], np.ndarray]  # names and (members, names)
_FRONT, _BACK = 4, 2


@dataclass(frozen=True)
class Table:
    names: tuple[str, ...]
    values: np.ndarray  # (members, names), NaN where a network has no such layer

    def select(self, names: Sequence[str]) -> np.ndarray:
        """The named columns; one that no network here has is NaN."""
        place = {name: i for i, name in enumerate(self.names)}
        out = np.full((len(self.values), len(names)), np.nan)
        for i, name in enumerate(names):
            if name in place:
                out[:, i] = self.values[:, place[name]]
        return out


def tabulate(population: Population, extract: Callable[[Group], Columns]) -> Table:
    """Columns of every group under the union of their names, in the population's order."""
    made = [extract(group) for group in population.groups]
    names = tuple(dict.fromkeys(name for found, _ in made for name in found))
    place = {name: i for i, name in enumerate(names)}
    values = np.full((population.size, len(names)), np.nan)
    for group, (found, columns) in zip(population.groups, made):
        where = np.array([place[n] for n in found], dtype=int)
        values[group.rows[:, None], where] = columns
    return Table(names, values)


def join(*columns: Columns) -> Columns:
    return [n for names, _ in columns for n in names], np.concatenate([v for _, v in columns], 1)


def prefixed(prefix: str, columns: Columns) -> Columns:
    return [f"{prefix}/{n}" for n in columns[0]], columns[1]


def by_layer(names: Sequence[str], layers: Sequence[Tensor | np.ndarray]) -> Columns:
    """Per-layer columns (members, names) laid out by place: from the front, from the back, and their mean.

    A deep and a shallow network then agree on what "the last layer" is.
    """
    stack = np.stack([np.asarray(layer, dtype=np.float64) for layer in layers])
    depth = len(stack)
    where = [(str(i), stack[i]) for i in range(min(depth, _FRONT))]
    where += [(f"-{i}", stack[depth - i]) for i in range(1, min(depth, _BACK) + 1)]
    where.append(("mean", stack.mean(0)))
    return join(*(prefixed(f"layer{place}", (list(names), values)) for place, values in where))


def useful(table: Table, rows: np.ndarray) -> tuple[str, ...]:
    """Names of columns that vary over `rows` and repeat no earlier column."""
    seen: set[bytes] = set()
    kept = []
    for i, name in enumerate(table.names):
        column = table.values[rows, i]
        finite = column[np.isfinite(column)]
        key = column.tobytes()
        if finite.size and finite.min() < finite.max() and key not in seen:
            kept.append(name)
            seen.add(key)
    return tuple(kept)
