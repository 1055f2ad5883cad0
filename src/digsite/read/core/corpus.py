"""Networks with what is true of them: the population and the label of every task, from a zoo or from parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.base.errors import UsageError
from digsite.read.core.population import NetworkGroup, Population, group_networks, known_of
from digsite.read.core.tasks import TASKS, ReadTask, find_task
from digsite.zoo import Zoo

MIN_MODELS = 30


@dataclass(frozen=True)
class Corpus:
    """`labels` has one column per task and the recipe's own columns; NaN = not known for this member."""

    population: Population
    labels: pd.DataFrame
    name: str = ""
    dataset: str = ""

    def __len__(self) -> int:
        return self.population.size

    def take(self, rows: Sequence[int] | np.ndarray) -> "Corpus":
        """The members of `rows`, in that order, with their labels."""
        labels = self.labels.iloc[np.asarray(rows)].reset_index(drop=True)
        return replace(self, population=self.population.take(rows), labels=labels)


def corpus_of(zoo: Zoo | Corpus, step: int | None = None) -> Corpus:
    """Every member of a zoo that can be read, with the label of every task; members whose training diverged are left out.

    `step`: an earlier checkpoint. Only the accuracy is then measured anew; the recipe is what it was. A `Corpus` is
    given back as it is, so that callers need not ask which of the two they hold.
    """
    if isinstance(zoo, Corpus):
        return zoo
    labels = task_columns(zoo.labels, zoo.steps)
    if step is not None and step != zoo.steps[-1]:
        measured = f"test_accuracy@{step}" in zoo.labels
        labels["test_accuracy"] = zoo.labels[f"test_accuracy@{step}"].to_numpy() if measured else np.nan
    by_shape: dict[int, list[tuple[Any, Any]]] = {}
    for block, rows in zoo.blocks(step):
        by_shape.setdefault(block.architecture, []).append((block, rows))
    groups: list[NetworkGroup] = []
    alive = np.zeros(len(zoo), dtype=bool)
    for number, parts in by_shape.items():
        groups += _group_architecture(zoo.index.architectures[number], parts, alive)
    datasets = sorted(set(map(str, labels["dataset"]))) if "dataset" in labels else []
    dataset = datasets[0] if len(datasets) == 1 else ""
    whole = Corpus(Population(groups, len(zoo)), labels.reset_index(drop=True), zoo.name, dataset)
    return whole if alive.all() else whole.take(np.flatnonzero(alive))


def with_earlier(corpus: Corpus, earlier: Sequence[Corpus]) -> Corpus:
    """The networks, and what their own runs were at earlier checkpoints: of those only the accuracy is known then.

    `earlier` holds one corpus per checkpoint; members of runs that `corpus` does not have are left out, or a test run
    would be learned from.
    """
    people, labels, size = list(corpus.population.groups), [corpus.labels], len(corpus)
    for other in earlier:
        matching = other.take(np.flatnonzero(other.labels["run"].isin(corpus.labels["run"])))
        others = [t for t in TASKS if t in matching.labels and t != "test_accuracy"]
        people += [replace(g, rows=g.rows + size) for g in matching.population.groups]
        labels.append(matching.labels.assign(**dict.fromkeys(others, np.nan)))
        size += len(matching)
    table = pd.concat(labels, ignore_index=True) if earlier else corpus.labels
    return replace(corpus, population=Population(people, size), labels=table)


def _group_architecture(
    architecture: Any, parts: list[tuple[Any, Any]], alive: np.ndarray
) -> list[NetworkGroup]:
    """One group per activation of an architecture: they differ in their symmetries."""
    rows = np.concatenate([np.arange(b.first, b.first + b.count) for b, _ in parts])
    flat = torch.cat([r for _, r in parts]) if len(parts) > 1 else parts[0][1]
    finite = torch.isfinite(flat).all(1).numpy()
    alive[rows[finite]] = True
    if not finite.any():
        return []
    tensors = architecture.tensors(flat[torch.from_numpy(finite)])
    return [group_networks(tensors, rows[finite], known_of(architecture.model, architecture.tied))]


def task_columns(table: pd.DataFrame, steps: Sequence[int] = ()) -> pd.DataFrame:
    """A zoo's table with one further column per task that it can answer, under the task's name."""
    out: Any = table.copy()
    for name, (needed, made) in _DERIVED.items():
        if set(needed) <= set(table):
            out[name] = made(*(table[n] for n in needed))
    if "convergence_step" in table and steps:
        out["convergence_epoch"] = table["convergence_step"] / max(steps)
    return out


def _log_positive(column: pd.Series) -> Any:
    """log10, zeros at its floor: rates and decays are varied over decades."""
    return np.log10(column.astype(float).clip(lower=1e-12))


# Task: the columns of a zoo's table that it comes from, and how.
_DERIVED: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "log_lr": (("lr",), _log_positive),
    # A sum of steps cannot tell momentum 0.9 from a rate ten times as large.
    "log_effective_lr": (
        ("lr", "optimizer"),
        lambda lr, optimizer: _log_positive(lr) + (optimizer == "momentum"),
    ),
    "log_weight_decay": (("weight_decay",), _log_positive),
    # Spans many orders of magnitude where the best loss is tiny.
    "overfitting": (("overfitting",), lambda x: np.log1p(x.astype(float).clip(lower=0, upper=1e6))),
    "family": (("kind",), lambda kind: kind),
    "train_fraction": (("fraction",), lambda x: x.map(lambda f: f"{f:g}")),
    "missing_class": (("missing_class",), lambda x: x.map(lambda c: "none" if c < 0 else str(int(c)))),
    "noisy_labels": (("label_noise",), lambda x: np.where(x > 0, "yes", "no")),
    "backdoor": (("backdoor",), lambda x: x.map(lambda b: None if pd.isna(b) else ("no", "yes")[int(b)])),
}


def find_tasks(table: pd.DataFrame, names: Sequence[str] | None = None) -> list[ReadTask]:
    """The tasks with their classes as these labels have them; tasks that do not vary are left out, or refused.

    `table` has one row per network; `names` are the tasks that were asked for, None for all that have a label.
    """
    labels: Any = table
    wanted = [find_task(n) for n in names] if names else [t for t in TASKS.values() if t.name in labels]
    out = []
    for task in wanted:
        if task.name not in labels:
            raise UsageError(
                f"this zoo has no labels for '{task.name}'.",
                hint=f"It has: {', '.join(_list_labeled(labels))}.",
            )
        column = labels[task.name].dropna()
        if column.nunique() < 2:
            if names:
                raise UsageError(
                    f"'{task.name}' is the same for every network of this zoo: nothing can be learned."
                )
            continue
        if not task.is_regression:
            task = replace(task, classes=_list_classes(task, column))
        out.append(task)
    return out


def _list_labeled(labels: pd.DataFrame) -> list[str]:
    """Tasks whose label the zoo knows."""
    return [t for t in TASKS if t in labels]


def _list_classes(task: ReadTask, column: pd.Series) -> tuple[str, ...]:
    """Classes of a task, in an order that does not depend on the rows."""
    if task.per_output:  # every class has its output, also one that was never missing
        numbers = sorted({int(c) for c in column.unique() if c != "none"})
        return (*map(str, range(max([9, *numbers]) + 1)), "none")
    return tuple(sorted(map(str, column.unique())))


def read_labels(corpus: Corpus, task: ReadTask) -> np.ndarray:
    """(members,) numbers: the value, or the number of the class among `one.classes`; NaN where it is not known."""
    column: Any = corpus.labels[task.name]
    if task.is_regression:
        return column.to_numpy(dtype=float)
    number = {name: float(i) for i, name in enumerate(task.classes)}
    return column.map(lambda v: number.get(str(v), np.nan) if pd.notna(v) else np.nan).to_numpy(dtype=float)


def refuse_small(n: int, what: str) -> None:
    """A UsageError where `n` networks are fewer than 30; `what` ends the sentence "too few to ..."."""
    if n < MIN_MODELS:
        raise UsageError(
            f"{n} networks are too few to {what}: at least {MIN_MODELS} are needed for a number with a meaning.",
            hint="Make a larger zoo: digsite zoo make mlp-digits",
        )
