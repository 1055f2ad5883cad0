"""Readers that turn a network into a row of numbers and learn from rows: features, then trees or a linear map.

Questions about one class (which one is missing?) are asked of every output neuron beside its siblings instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base import families
from digsite.base.streams import derive_seed
from digsite.read.core import trees
from digsite.read.core.agreement import ZooAgreement, map_group, size_key
from digsite.read.core.corpus import Corpus, read_labels
from digsite.read.core.edges import ZooShape, outputs_of, shape_of
from digsite.read.core.graph import to_canonical_form, weigh_graph
from digsite.read.core.population import (
    FeatureTable,
    NetworkGroup,
    Population,
    find_useful,
    tabulate_features,
)
from digsite.read.core.readers.consensus import per_output
from digsite.read.core.tasks import ReadTask
from digsite.read.core.trees import Forest, class_probabilities, grow_classes

READERS = "digsite.read.core.readers"
_MANY_CLASSES = 5  # beyond this, fewer rounds: each round grows one tree per class


def find_reader(kind: str) -> ModuleType:
    """The member of the family of readers that is called `kind`."""
    return import_module(f"{READERS}.{kind}")


def find_extractor(kind: str) -> Callable[..., Any] | None:
    """`extract_kind` of a member, from a group to its columns; None for members that are no rows of numbers."""
    return getattr(find_reader(kind), f"extract_{kind}", None)


def learns_from_zoo(kind: str) -> bool:
    """Whether a member's columns depend on what a zoo has in common, so that they exist only inside of a reader."""
    return families.read_tag(READERS, kind, "STATE") is not None


def list_columns_readers() -> tuple[str, ...]:
    """Members whose columns stand side by side in `features`, in the order that they state: trees draw columns by place."""
    places = {
        kind: families.read_tag(READERS, kind, "IN_FEATURES") for kind in families.list_members(READERS)
    }
    return tuple(sorted((k for k, where in places.items() if where), key=lambda k: places[k]))


def tabulate_kinds(
    population: Population, kinds: Sequence[str], about: str, states: Mapping[str, Any]
) -> FeatureTable:
    """All columns of `kinds`, named `kind/column`; recipe tasks see the weights as they lie.

    `about` is "function" or "recipe"; `states` holds what members learned from the zoo, under `kind/about`.
    """
    names: list[str] = []
    parts = []
    for kind in kinds:
        table = tabulate_features(
            population, lambda g, kind=kind: _extract_kind(kind, g, about, states.get(f"{kind}/{about}"))
        )
        names += [f"{kind}/{n}" for n in table.names]
        parts.append(table.values)
    return FeatureTable(tuple(names), np.concatenate(parts, 1) if parts else np.zeros((population.size, 0)))


def _extract_kind(kind: str, group: Any, about: str, state: Any) -> Any:
    """Columns of one reader, in canonical form where the question is about the function alone."""
    module = find_reader(kind)
    arguments: dict[str, Any] = {}
    if "scale" in module.INVARIANT:
        arguments["in_canonical_form"] = about == "function"
    if learns_from_zoo(kind):
        arguments["state"] = state
    extract = find_extractor(kind)
    assert extract is not None, kind
    return extract(group, **arguments)


@dataclass
class FeatureEngine:
    """A trained one. `heads` are forests or linear maps by task; `columns` the features that each kind of task uses."""

    kinds: dict[str, tuple[str, ...]]  # for function tasks and for recipe tasks
    tasks: tuple[ReadTask, ...]
    states: dict[str, Any]
    columns: dict[str, tuple[str, ...]]
    heads: dict[str, Any]
    shape: ZooShape
    seen: dict[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # classes of each task that training showed

    def table(self, population: Population, about: str) -> np.ndarray:
        """(members, columns) for one kind of question: the columns that varied in training, NaN where a network has none."""
        return tabulate_kinds(population, self.kinds[about], about, self.states).select(self.columns[about])

    def predict(self, population: Population) -> dict[str, np.ndarray]:
        """Values (members,) of regressions and probabilities (members, classes) of classifications."""
        self.shape.refuse_strangers(shape_of(population))
        tables = {about: self.table(population, about) for about in self.columns}
        out = {}
        for task in self.tasks:
            x, head = tables[task.about], self.heads[task.name]
            if task.is_regression:
                out[task.name] = head.raw(x)[:, 0]
            elif self._by_output(task):
                out[task.name] = predict_per_output(head, tabulate_outputs(population, self._agreements()))
            else:
                probabilities, n = trees.class_probabilities(head, x), len(task.classes)
                out[task.name] = trees.widen_classes(
                    probabilities, self.seen.get(task.name, tuple(range(n))), n
                )
        return out

    def represent(self, population: Population) -> np.ndarray:
        """The table of the first kind of question: what distances to the zoo are measured in."""
        return self.table(population, next(iter(self.columns)))

    def _by_output(self, task: ReadTask) -> bool:
        """Whether each output is asked for itself, as for a class that was never seen."""
        return task.per_output and "consensus" in self.kinds[task.about]

    def _agreements(self) -> dict[str, ZooAgreement]:
        """What the zoo agrees on, where a reader learned it."""
        return self.states.get("consensus/function", {})

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything as tensors and plain data."""
        tensors: dict[str, Tensor] = {}
        for slot, state in self.states.items():
            for key, value in state.items():
                tensors |= {f"states|{slot}|{key}|{n}": t for n, t in value.tensors().items()}
        for name, head in self.heads.items():
            tensors |= {f"heads|{name}|{n}": t for n, t in head.tensors().items()}
        return tensors, {
            "kinds": self.kinds,
            "columns": self.columns,
            "shape": vars(self.shape),
            "seen": self.seen,
        }


def fit_features(
    corpus: Corpus, kinds: Sequence[str], tasks: Sequence[ReadTask], seed: int, **options: Any
) -> FeatureEngine:
    """An engine on the columns of `kinds`, one head per task.

    Several kinds together: tasks about the function then use only those that free scales and signs cannot move.
    `options` overrule those of the trees; `seed` draws the columns that each tree sees.
    """
    blind = [k for k in kinds if "scale" in find_reader(k).INVARIANT] or list(kinds)
    asked = {"function": tuple(blind if len(kinds) > 1 else kinds), "recipe": tuple(kinds)}
    chosen = {about: asked[about] for about in dict.fromkeys(t.about for t in tasks)}
    states = {
        f"{kind}/{about}": getattr(find_reader(kind), f"fit_{kind}")(
            corpus.population, weigh_by_accuracy(corpus), about == "function"
        )
        for about, chosen_kinds in chosen.items()
        for kind in chosen_kinds
        if learns_from_zoo(kind)
    }
    fits_all = all(families.read_tag(READERS, kind, "ANY_SHAPE") for kind in kinds)
    shape = outputs_of(corpus.population) if fits_all else shape_of(corpus.population)
    engine = FeatureEngine(chosen, tuple(tasks), states, {}, {}, shape)
    for about, chosen_kinds in chosen.items():
        table = tabulate_kinds(corpus.population, chosen_kinds, about, states)
        engine.columns[about] = find_useful(table, np.arange(len(corpus)))
        x = table.select(engine.columns[about])
        for task in tasks:
            if task.about == about:
                if not task.is_regression:
                    y = read_labels(corpus, task)
                    engine.seen[task.name] = tuple(np.unique(y[np.isfinite(y)]).astype(int).tolist())
                engine.heads[task.name] = _fit_head(
                    engine, corpus, task, x, derive_seed(seed, f"head/{task.name}"), options
                )
    return engine


def _fit_head(
    engine: FeatureEngine, corpus: Corpus, task: ReadTask, x: np.ndarray, seed: int, options: dict
) -> Any:
    """Trees, or a linear map where the reader asks for one."""
    y = read_labels(corpus, task)
    known = np.isfinite(y)
    if engine._by_output(task):
        described = tabulate_outputs(corpus.population, engine._agreements())
        return fit_per_output(described[known], y[known], seed)
    x, y = x[known], y[known]
    if all(families.read_tag(READERS, kind, "LINEAR_HEAD") for kind in engine.kinds[task.about]):
        return trees.fit_ridge(x, y) if task.is_regression else trees.fit_class_lines(x, _number_classes(y))
    if task.is_regression:
        return trees.grow_regression(x, y, seed, **options)
    rounds = {"max_iter": 60} if len(task.classes) > _MANY_CLASSES else {"max_iter": 120}
    return trees.grow_classes(x, _number_classes(y), seed, **(rounds | options))


def _number_classes(y: np.ndarray) -> np.ndarray:
    """Numbers of the classes that occur, from 0 on without a gap."""
    return np.unique(y, return_inverse=True)[1]


def weigh_by_accuracy(corpus: Corpus) -> np.ndarray:
    """(members,): accuracy above the lower quartile, or ones. Good networks agree, bad ones each fail in their own way."""
    if "test_accuracy" not in corpus.labels:
        return np.ones(len(corpus))
    accuracy = corpus.labels["test_accuracy"].to_numpy(dtype=float)
    lead = np.clip(accuracy - np.nanquantile(accuracy, 0.25), 0, None)
    return np.nan_to_num(lead) if np.nansum(lead) > 0 else np.ones(len(corpus))


def _rebuild_state(key: str, tensors: Mapping[str, Tensor]) -> Any:
    """Stored in half the digits that the arithmetic uses; flat weights and probes are float32 to begin with."""
    kind = key.split("/")[0]
    wide = families.read_tag(READERS, kind, "IN_DOUBLE")
    return families.read_tag(READERS, kind, "STATE")(
        **{k: t.double() if wide else t for k, t in tensors.items()}
    )


def restore_features(
    tensors: Mapping[str, Tensor], meta: Mapping[str, Any], tasks: Sequence[ReadTask]
) -> FeatureEngine:
    """The engine again, from the names that `state` gave its tensors: `states|kind/about|size|name`, `heads|task|name`."""
    states: dict[str, dict[str, dict[str, Tensor]]] = {}
    heads: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        what, *rest = name.split("|")
        if what == "states":
            states.setdefault(rest[0], {}).setdefault(rest[1], {})[rest[2]] = tensor
        elif what == "heads":
            heads.setdefault(rest[0], {})[rest[1]] = tensor
    built = {p: {k: _rebuild_state(p, v) for k, v in s.items()} for p, s in states.items()}
    columns = {k: tuple(v) for k, v in meta["columns"].items()}
    made = {n: trees.restore_forest(t) if "roots" in t else trees.restore_linear(t) for n, t in heads.items()}
    kinds = {k: tuple(v) for k, v in meta["kinds"].items()}
    seen = {k: tuple(v) for k, v in meta.get("seen", {}).items()}
    return FeatureEngine(kinds, tuple(tasks), built, columns, made, ZooShape(**meta["shape"]), seen)


# Each output neuron beside its siblings: which class is missing is a question about one neuron, asked of all.

N_ROUNDS = 120


def describe_outputs(group: NetworkGroup, agreements: dict[str, ZooAgreement]) -> np.ndarray:
    """(members, outputs, features): strength, bias and agreement, as they are, relative to the others, and ranked."""
    parts = to_canonical_form(group.graph, weigh_graph(group.graph, group.tensors))
    out = next(i for i in reversed(range(len(group.graph.nodes))) if group.graph.nodes[i].is_output)
    weight = next(w for w, b in zip(reversed(parts.weights), reversed(group.graph.blocks)) if b.target == out)
    rows = weight.double().transpose(1, 2).flatten(2)
    columns = [
        rows.norm(dim=2).clamp_min(1e-9).log(),
        rows.mean(2),
        rows.amax(2),
        rows.amin(2),
        parts.bias[out].double(),
    ]
    maps = map_group(group)
    if maps is not None and size_key(maps) in agreements:
        norms, each, margin = per_output(maps, agreements[size_key(maps)])
        columns += [norms.log(), each, margin]
    made = [c for column in columns for c in _beside_others(column)]
    return torch.stack(made, 2).numpy()


def _beside_others(values: Tensor) -> list[Tensor]:
    """A column's value, its value relative to the others' and its rank: outputs are compared within a network."""
    relative = values - values.mean(1, keepdim=True)
    ranks = values.argsort(1).argsort(1).double()
    return [values, relative / values.std(1, keepdim=True).clamp_min(1e-9), ranks]


def tabulate_outputs(population: Population, agreements: dict[str, ZooAgreement]) -> np.ndarray:
    """(members, outputs, features) of a whole population, in its order; all its networks have one number of outputs."""
    return population.gather(describe_outputs(group, agreements) for group in population.groups)


def fit_per_output(described: np.ndarray, target: np.ndarray, seed: int) -> Forest:
    """One yes/no forest over all output neurons of all networks.

    `described` (members, outputs, features) as `tabulate_outputs` gives it; `target` (members,) is the class, or the
    number of outputs for none. One forest for all classes sees as many examples as there are outputs.
    """
    n, outputs, width = described.shape
    is_it = (target[:, None] == np.arange(outputs)).ravel().astype(int)
    return grow_classes(described.reshape(n * outputs, width), is_it, seed, max_iter=N_ROUNDS)


def predict_per_output(forest: Forest, described: np.ndarray) -> np.ndarray:
    """(members, outputs + 1) probabilities: at most one class is missing, so the odds of all cases compete."""
    n, outputs, width = described.shape
    yes = class_probabilities(forest, described.reshape(n * outputs, width))[:, 1].reshape(n, outputs)
    yes = yes.clip(1e-6, 1 - 1e-6)
    odds = np.concatenate([yes / (1 - yes), np.ones((n, 1))], 1)
    return odds / odds.sum(1, keepdims=True)
