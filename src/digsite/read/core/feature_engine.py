"""Readers that turn a network into a row of numbers and learn from rows: features, then trees or a linear map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.read.core import linear, per_output, trees
from digsite.read.core.agreement import Agreement
from digsite.read.core.corpus import Corpus, target
from digsite.read.core.population import Population
from digsite.read.core.readers import pca, probe
from digsite.read.core.shape import Shape, shape_of
from digsite.read.core.table import Table, tabulate, useful
from digsite.read.core.tasks import Task

READERS = "digsite.read.core.readers"
LINEAR = {"pca"}
_STATES: dict[str, type] = {"consensus": Agreement, "pca": pca.Basis, "probe": probe.Probes}
_MANY_CLASSES = 5  # beyond this, fewer rounds: each round grows one tree per class


def member(kind: str) -> ModuleType:
    return import_module(f"{READERS}.{kind}")


def features_of(population: Population, kinds: Sequence[str], about: str, states: Mapping[str, Any]) -> Table:
    """All columns of `kinds`, named `kind/column`; recipe tasks see the weights as they lie."""
    names: list[str] = []
    parts = []
    for kind in kinds:
        found = tabulate(
            population, lambda g, kind=kind: _extract(kind, g, about, states.get(f"{kind}/{about}"))
        )
        names += [f"{kind}/{n}" for n in found.names]
        parts.append(found.values)
    return Table(tuple(names), np.concatenate(parts, 1) if parts else np.zeros((population.size, 0)))


def _extract(kind: str, group: Any, about: str, state: Any) -> Any:
    module = member(kind)
    arguments: dict[str, Any] = {}
    if "scale" in module.INVARIANT:
        arguments["in_canonical_form"] = about == "function"
    if hasattr(module, "fit"):
        arguments["state"] = state
    return module.extract(group, **arguments)


@dataclass
class FeatureEngine:
    """A trained one. `heads` are forests or linear maps by task; `columns` the features that each kind of task uses."""

    kinds: dict[str, tuple[str, ...]]  # for function tasks and for recipe tasks
    tasks: tuple[Task, ...]
    states: dict[str, Any]
    columns: dict[str, tuple[str, ...]]
    heads: dict[str, Any]
    shape: Shape
    seen: dict[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # classes of each task that training showed

    def table(self, population: Population, about: str) -> np.ndarray:
        return features_of(population, self.kinds[about], about, self.states).select(self.columns[about])

    def predict(self, population: Population) -> dict[str, np.ndarray]:
        """Values (members,) of regressions and probabilities (members, classes) of classifications."""
        self.shape.refuse_strangers(shape_of(population))
        tables = {about: self.table(population, about) for about in self.columns}
        out = {}
        for task in self.tasks:
            x, head = tables[task.about], self.heads[task.name]
            if task.kind == "regression":
                out[task.name] = head.raw(x)[:, 0]
            elif self._by_output(task):
                out[task.name] = per_output.predict(head, per_output.table(population, self._agreements()))
            else:
                found, n = trees.probabilities(head, x), len(task.classes)
                out[task.name] = trees.widened(found, self.seen.get(task.name, tuple(range(n))), n)
        return out

    def represent(self, population: Population) -> np.ndarray:
        return self.table(population, next(iter(self.columns)))

    def _by_output(self, task: Task) -> bool:
        return task.per_output and "consensus" in self.kinds[task.about]

    def _agreements(self) -> dict[str, Agreement]:
        return self.states.get("consensus/function", {})

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything as tensors and plain data."""
        tensors: dict[str, Tensor] = {}
        for place, state in self.states.items():
            for key, value in state.items():
                tensors |= {f"states|{place}|{key}|{n}": t for n, t in value.tensors().items()}
        for name, head in self.heads.items():
            tensors |= {f"heads|{name}|{n}": t for n, t in head.tensors().items()}
        return tensors, {
            "kinds": self.kinds,
            "columns": self.columns,
            "shape": vars(self.shape),
            "seen": self.seen,
        }


def fit(
    corpus: Corpus, kinds: Sequence[str], tasks: Sequence[Task], seed: int, **options: Any
) -> FeatureEngine:
    """Several kinds together: tasks about the function then use only those that free scales and signs cannot move."""
    blind = [k for k in kinds if "scale" in member(k).INVARIANT] or list(kinds)
    asked = {"function": tuple(blind if len(kinds) > 1 else kinds), "recipe": tuple(kinds)}
    chosen = {about: asked[about] for about in dict.fromkeys(t.about for t in tasks)}
    states = {
        f"{kind}/{about}": member(kind).fit(corpus.population, quality(corpus), about == "function")
        for about, mine in chosen.items()
        for kind in mine
        if hasattr(member(kind), "fit")
    }
    engine = FeatureEngine(chosen, tuple(tasks), states, {}, {}, shape_of(corpus.population))
    for about, mine in chosen.items():
        found = features_of(corpus.population, mine, about, states)
        engine.columns[about] = useful(found, np.arange(len(corpus)))
        x = found.select(engine.columns[about])
        for task in tasks:
            if task.about == about:
                if task.kind == "classification":
                    y = target(corpus, task)
                    engine.seen[task.name] = tuple(np.unique(y[np.isfinite(y)]).astype(int).tolist())
                engine.heads[task.name] = _head(
                    engine, corpus, task, x, derive_seed(seed, f"head/{task.name}"), options
                )
    return engine


def _head(engine: FeatureEngine, corpus: Corpus, task: Task, x: np.ndarray, seed: int, options: dict) -> Any:
    y = target(corpus, task)
    known = np.isfinite(y)
    if engine._by_output(task):
        described = per_output.table(corpus.population, engine._agreements())
        return per_output.fit(described[known], y[known], seed)
    x, y = x[known], y[known]
    if set(engine.kinds[task.about]) <= LINEAR:
        return (
            linear.fit_regression(x, y) if task.kind == "regression" else linear.fit_classes(x, _ordered(y))
        )
    if task.kind == "regression":
        return trees.fit_regression(x, y, seed, **options)
    rounds = {"max_iter": 60} if len(task.classes) > _MANY_CLASSES else {"max_iter": 120}
    return trees.fit_classes(x, _ordered(y), seed, **(rounds | options))


def _ordered(y: np.ndarray) -> np.ndarray:
    """Numbers of the classes that occur, from 0 on without a gap."""
    return np.unique(y, return_inverse=True)[1]


def quality(corpus: Corpus) -> np.ndarray:
    """Members above the middle count, by how far: good networks agree, bad ones each fail in their own way."""
    if "test_accuracy" not in corpus.labels:
        return np.ones(len(corpus))
    accuracy = corpus.labels["test_accuracy"].to_numpy(dtype=float)
    lead = np.clip(accuracy - np.nanquantile(accuracy, 0.25), 0, None)
    return np.nan_to_num(lead) if np.nansum(lead) > 0 else np.ones(len(corpus))


def _rebuilt(place: str, tensors: Mapping[str, Tensor]) -> Any:
    """Stored in half the digits that the arithmetic uses; flat weights and probes are float32 to begin with."""
    kind = place.split("/")[0]
    wide = kind == "consensus"
    return _STATES[kind](**{k: t.double() if wide else t for k, t in tensors.items()})


def restore(tensors: Mapping[str, Tensor], meta: Mapping[str, Any], tasks: Sequence[Task]) -> FeatureEngine:
    states: dict[str, dict[str, dict[str, Tensor]]] = {}
    heads: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        what, *rest = name.split("|")
        if what == "states":
            states.setdefault(rest[0], {}).setdefault(rest[1], {})[rest[2]] = tensor
        elif what == "heads":
            heads.setdefault(rest[0], {})[rest[1]] = tensor
    built = {p: {k: _rebuilt(p, v) for k, v in s.items()} for p, s in states.items()}
    columns = {k: tuple(v) for k, v in meta["columns"].items()}
    made = {n: trees.restore(t) if "roots" in t else linear.restore(t) for n, t in heads.items()}
    kinds = {k: tuple(v) for k, v in meta["kinds"].items()}
    seen = {k: tuple(v) for k, v in meta.get("seen", {}).items()}
    return FeatureEngine(kinds, tuple(tasks), built, columns, made, Shape(**meta["shape"]), seen)
