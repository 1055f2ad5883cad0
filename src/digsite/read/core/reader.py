"""A trained reader: predictions with intervals, a flag for strangers, and a file that holds all of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.base.streams import derive_seed
from digsite.read.core import engines, trust
from digsite.read.core.corpus import Corpus, corpus_of, find_tasks, read_labels, refuse_small, with_earlier
from digsite.read.core.edges import outputs_of
from digsite.read.core.engines import Answers, ReaderEngine, SharedParts
from digsite.read.core.feature_engine import READERS, FeatureEngine, tabulate_kinds, weigh_by_accuracy
from digsite.read.core.population import Population, join_populations, stack_models
from digsite.read.core.readers.nwpa import GraphOptions
from digsite.read.core.tasks import TASKS, ReadTask
from digsite.read.core.trees import Forest, grow_regression
from digsite.read.core.trust import OUTSIDE, Alignment, Membership
from digsite.weights.hub import OnHub
from digsite.weights.writer import save_tensors
from digsite.zoo import Zoo

SCHEMA = 2


@dataclass(frozen=True)
class Predictions:
    """`table` has one row per network and task: task, value, low, high (or the set of classes), in_zoo."""

    table: pd.DataFrame
    answers: Answers
    p_values: np.ndarray

    @property
    def in_zoo(self) -> np.ndarray:
        """Whether a network is like those that the reader learned from."""
        return self.p_values >= OUTSIDE


@dataclass
class Reader(OnHub):
    """What is stored, and what answers."""

    kind: str
    tasks: tuple[ReadTask, ...]
    engine: ReaderEngine
    margins: dict[str, float]
    zoo: Membership
    alignment: Alignment
    card: dict[str, Any]

    @classmethod
    def open_saved(cls, path: Path) -> "Reader":
        return load_reader(path)

    @property
    def over_recipes(self) -> bool:
        """Whether it reads any shape, with intervals that hold for networks of recipes that it never saw."""
        return "recipes" in self.card

    def answers(self, models: Any) -> Answers:
        """Bare values and probabilities by task, clipped to what is possible."""
        answers = self.engine.predict(_as_population(models))
        for task in self.tasks:
            if task.bounds:
                answers[task.name] = answers[task.name].clip(*task.bounds)
        return answers

    def predict(self, models: Any) -> Predictions:
        """Values with 90 % intervals (classes with 90 % sets), and whether each network looks like the zoo's."""
        people = _as_population(models)
        answers = self.answers(people)
        p_values = self.p_values(people)
        rows = [
            {"model": i, **row, "in_zoo": bool(p_values[i] >= OUTSIDE)}
            for i in range(people.size)
            for row in (self._row(t, answers[t.name][i]) for t in self.tasks)
        ]
        return Predictions(pd.DataFrame(rows), answers, p_values)

    def p_values(self, people: Population) -> np.ndarray:
        """How ordinary each network is among those of the zoo: by what the reader sees, and by what the zoo agrees on."""
        return np.minimum(self.zoo.p_values(self.engine.represent(people)), self.alignment.p_values(people))

    def _row(self, task: ReadTask, answer: Any) -> dict[str, Any]:
        """One answer with its conformal interval, cut to where values can be."""
        margin = self.margins[task.name]
        if task.is_regression:
            low, high = float(answer) - margin, float(answer) + margin
            if task.bounds:
                low, high = max(low, task.bounds[0]), min(high, task.bounds[1])
            return {"task": task.name, "value": float(answer), "low": low, "high": high, "set": ""}
        chosen = trust.class_sets(answer[None], margin)[0]
        best = int(answer.argmax())
        classes = [c for c, inside in zip(task.classes, chosen) if inside]
        return {
            "task": task.name,
            "value": task.classes[best],
            "low": float(answer[best]),
            "high": float(answer[best]),
            "set": " ".join(classes),
        }

    def packed(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Tensors, and metadata that is the model card."""
        tensors, meta = self.engine.state()
        tensors = {f"engine|{k}": t for k, t in tensors.items()}
        tensors |= {f"zoo|{k}": t for k, t in self.zoo.tensors().items()}
        tensors |= {f"alignment|{k}": t for k, t in self.alignment.tensors().items()}
        about = {
            "schema": SCHEMA,
            "kind": self.kind,
            "tasks": [asdict(t) for t in self.tasks],
            "engine": meta,
            "margins": self.margins,
            "card": self.card,
        }
        # Half the digits are plenty.
        plain = {
            k: (t.float() if t.dtype == torch.float64 else t).contiguous().clone() for k, t in tensors.items()
        }
        return plain, {"digsite_reader": json.dumps(about)}

    def save(self, path: str | Path) -> Path:
        """One safetensors file at `path`, metadata and all."""
        tensors, about = self.packed()
        save_tensors(tensors, path, about)  # pyright: ignore[reportArgumentType]
        return Path(path)


def _as_population(models: Any) -> Population:
    """Whatever a user calls a network or several."""
    if isinstance(models, Population):
        return models
    if isinstance(models, Corpus | Zoo):
        return corpus_of(models).population
    is_many = isinstance(models, Iterable) and not isinstance(models, dict | torch.nn.Module)
    return stack_models(models if is_many else [models])


def list_readers() -> list[str]:
    """Every reader that can be trained, by name."""
    return [*families.list_members(READERS)]


@public_method()
def train_reader(
    zoo: Zoo | Corpus,
    kind: str = "nwpa",
    tasks: Sequence[str] | None = None,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    parts: SharedParts | None = None,
    earlier: Sequence[Corpus] = (),
    **options: Any,
) -> Reader:
    """Learn to read from a zoo. `held_out` of its networks calibrate the intervals and are learned from by nothing.

    `earlier` holds the zoo at earlier checkpoints (`corpus_of(zoo, step)`): accuracy is learned from those as well, of
    the very runs that are learned from and of no other.

    Several readers of one zoo and seed share what they have in common through `parts`, which also names the device that graph networks are trained on.

    `kind` is the reader, `tasks` what is to be read (all that the zoo has labels for), `seed` draws the split
    and the training, `options` are those of the kind.
    """
    if kind not in list_readers():
        raise UsageError(f"There is no reader '{kind}'.", hint=name_nearest(kind, list_readers()))
    corpus = corpus_of(zoo)
    refuse_small(len(corpus), "train a reader")
    rng = np.random.default_rng(derive_seed(seed, "held-out"))
    order = rng.permutation(len(corpus))
    n_held = max(10, round(held_out * len(corpus)))
    train, held = corpus.take(np.sort(order[n_held:])), corpus.take(np.sort(order[:n_held]))
    asked = tuple(find_tasks(train.labels, tasks))
    grown = with_earlier(train, earlier)
    engine = engines.fit_engine(
        kind, grown, asked, seed, GraphOptions(**options), held, parts or SharedParts()
    )
    return _calibrate_reader(
        kind, asked, engine, train, held, np.random.default_rng(derive_seed(seed, "membership"))
    )


def _calibrate_reader(
    kind: str,
    tasks: tuple[ReadTask, ...],
    engine: ReaderEngine,
    train: Corpus,
    held: Corpus,
    rng: np.random.Generator,
) -> Reader:
    """Margins from networks that no part of the reader was trained on."""
    zoo = trust.fit_membership(engine.represent(train.population), rng)
    aligned = trust.fit_alignment(train.population, weigh_by_accuracy(train), 0)
    reader = Reader(kind, tasks, engine, {}, zoo, aligned, {})
    answers = reader.answers(held.population)
    for task in tasks:
        y = read_labels(held, task)
        known = np.isfinite(y)
        if task.is_regression:
            reader.margins[task.name] = trust.fit_margin(y[known] - answers[task.name][known])
        else:
            of_truth = answers[task.name][known, y[known].astype(int)]
            reader.margins[task.name] = trust.fit_threshold(of_truth)
    reader.card = {
        "zoo": train.name,
        "dataset": train.dataset,
        "trained_on": len(train),
        "calibrated_on": len(held),
        "level": trust.LEVEL,
        "runs_the_network": not engines.reads_weights_only(engine),
        "families": sorted(set(map(str, train.labels["kind"]))) if "kind" in train.labels else [],
        "license": "MIT",
    }
    return reader


@public_method()
def train_over_recipes(zoos: Mapping[str, Zoo | Corpus], kind: str = "strokes", *, seed: int = 0) -> Reader:
    """A reader of any shape from small zoos of many recipes, whose intervals for test accuracy hold over *recipes*.

    Intervals of one zoo hold for networks of that zoo; a stranger comes from another recipe. Here they come from trees that
    never saw a network's recipe, so at least ten recipes are needed for intervals that end.

    `zoos` are the recipes' zoos by name, `kind` a reader that reads any shape (`strokes` runs the network, `shape_free`
    looks at its weights), `seed` deals recipes into folds.
    """
    if not (kind in list_readers() and families.read_tag(READERS, kind, "ANY_SHAPE")):
        fitting = [k for k in list_readers() if families.read_tag(READERS, k, "ANY_SHAPE")]
        raise UsageError(
            f"'{kind}' does not read networks of any shape.", hint=f"Those that do: {', '.join(fitting)}."
        )
    corpora = {name: corpus_of(zoo) for name, zoo in zoos.items()}
    people = join_populations([c.population for c in corpora.values()])
    table = tabulate_kinds(people, [kind], "function", {})
    y = np.concatenate([c.labels["test_accuracy"].to_numpy(dtype=float) for c in corpora.values()])
    recipes = np.concatenate([[name] * len(c) for name, c in corpora.items()])
    forest, margin = fit_over_recipes(table.values, y, recipes, seed)
    task = find_tasks(next(iter(corpora.values())).labels, ["test_accuracy"])[0]
    engine = FeatureEngine(
        {task.about: (kind,)}, (task,), {}, {task.about: table.names}, {task.name: forest}, outputs_of(people)
    )
    zoo = trust.fit_membership(table.values, np.random.default_rng(derive_seed(seed, "membership")))
    card = {
        "zoo": f"{len(corpora)} recipes of several families",
        "dataset": "",
        "trained_on": len(y),
        "recipes": sorted(corpora),
        "level": trust.LEVEL,
        "runs_the_network": not engines.reads_weights_only(engine),
        "families": sorted({name.partition("/")[0] for name in corpora}),
        "license": "MIT",
    }
    return Reader(kind, (task,), engine, {task.name: margin}, zoo, Alignment({}, {}, {}), card)


def fit_over_recipes(
    x: np.ndarray, y: np.ndarray, recipes: np.ndarray, seed: int, folds: int = 4
) -> tuple[Forest, float]:
    """Trees on networks of many recipes, and the half-width of 90 % intervals for a network of a *new* recipe.

    `x` (members, columns), `y` (members,) without NaN, `recipes` (members,) the name of each one's recipe. Residuals
    come from trees that never saw the recipe: recipes are dealt into `folds` folds, each left out in turn.
    """
    kinds = sorted(set(recipes))
    fold = {kind: i % folds for i, kind in enumerate(np.random.default_rng(seed).permutation(kinds))}
    fold_of = np.array([fold[kind] for kind in recipes])
    residuals = np.zeros(len(y))
    for i in range(folds):
        forest = _grow_trees(x[fold_of != i], y[fold_of != i], seed)
        residuals[fold_of == i] = y[fold_of == i] - forest.raw(x[fold_of == i])[:, 0]
    by_recipe = [np.abs(residuals[recipes == kind]) for kind in kinds]
    return _grow_trees(x, y, seed), trust.fit_recipe_margin(by_recipe)


def _grow_trees(x: np.ndarray, y: np.ndarray, seed: int) -> Forest:
    """Trees; a column that no network here has is set to zero, because scikit-learn cannot bin what is missing throughout."""
    return grow_regression(np.where(np.isnan(x).all(0), 0.0, x), y, seed, max_iter=100)


@public_method()
def load_reader(path: str | Path) -> Reader:
    """A saved reader. Files that are none, or of another schema, are refused in one sentence.

    `path` is a file of `Reader.save`.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"There is no reader at '{path}'.", hint="Train one: digsite run nwa")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("digsite_reader", "null"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"'{path}' is not a reader: {error}.") from None
    if about is None:
        raise UsageError(f"'{path}' is a safetensors file but not a reader: it has no reader's metadata.")
    if about["schema"] != SCHEMA:
        raise UsageError(f"the reader '{path}' has schema {about['schema']}, this version reads {SCHEMA}.")
    tasks = tuple(_restore_task(t) for t in about["tasks"])
    inside = _take_prefix(tensors, "engine|")
    engine = engines.restore_engine(about["kind"], inside, about["engine"], tasks)
    zoo = trust.restore_membership(_take_prefix(tensors, "zoo|"))
    aligned = trust.restore_alignment(_take_prefix(tensors, "alignment|"))
    return Reader(about["kind"], tasks, engine, about["margins"], zoo, aligned, about["card"])


def _take_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors of one part."""
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def _restore_task(stored: dict[str, Any]) -> ReadTask:
    """Our own task where its name is known, with the classes that were stored."""
    known = TASKS.get(stored["name"])
    bounds = tuple(stored["bounds"]) if stored["bounds"] else None
    fresh = ReadTask(**{**stored, "classes": tuple(stored["classes"]), "bounds": bounds})
    return replace(known, classes=fresh.classes) if known else fresh
