"""What a trained reader is inside: features with heads, graph networks, or several of these with learned weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.read.core import feature_engine
from digsite.read.core.corpus import Corpus, target
from digsite.read.core.feature_engine import FeatureEngine
from digsite.read.core.metrics import score
from digsite.read.core.population import Population
from digsite.read.core.readers import nwpa
from digsite.read.core.shape import Shape
from digsite.read.core.tasks import Task

Answers = dict[str, np.ndarray]
Stored = tuple[dict[str, Tensor], dict[str, Any]]
WEIGHTS_ONLY = ("neurons", "consensus", "spectra", "statistics", "traces")
ALL_FEATURES = "features"  # trees over the columns of WEIGHTS_ONLY side by side: no reader of its own
MADE_OF = {"ensemble": (ALL_FEATURES, "nwpa"), "hybrid": (ALL_FEATURES, "nwpa", "probe")}


class Engine(Protocol):
    def predict(self, population: Population) -> Answers: ...
    def represent(self, population: Population) -> np.ndarray: ...
    def state(self) -> Stored: ...


@dataclass
class NwpaEngine:
    """One graph network for tasks about the function, one for those about the recipe, `nets` for each of `own`."""

    branches: list[nwpa.Branch]
    options: nwpa.Options

    def predict(self, population: Population) -> Answers:
        found: dict[str, list[np.ndarray]] = {}
        for branch in self.branches:
            for task, answer in nwpa.predict(branch, population)[0].items():
                found.setdefault(task, []).append(answer)
        return {task: np.mean(each, axis=0) for task, each in found.items()}

    def represent(self, population: Population) -> np.ndarray:
        return nwpa.predict(self.branches[0], population)[1]

    def state(self) -> Stored:
        tensors = {
            f"{i}|{name}": t for i, b in enumerate(self.branches) for name, t in b.net.state_dict().items()
        }
        branches = [
            {
                "about": b.about,
                "center": b.center,
                "spread": b.spread,
                "shape": vars(b.shape),
                "curve": b.curve,
                "tasks": [t.name for t in b.net.tasks],
            }
            for b in self.branches
        ]
        return tensors, {"branches": branches, "options": asdict(self.options), "form": nwpa.FORM}


@dataclass
class EnsembleEngine:
    """A weighted mean of engines; the weights are per task and were chosen on held-out networks."""

    parts: list[Engine]
    weights: dict[str, list[float]]
    kinds: list[str]

    def predict(self, population: Population) -> Answers:
        answers = [part.predict(population) for part in self.parts]
        return {
            name: np.sum([w * a[name] for w, a in zip(weights, answers)], axis=0)
            for name, weights in self.weights.items()
        }

    def represent(self, population: Population) -> np.ndarray:
        return self.parts[0].represent(population)

    def state(self) -> Stored:
        tensors, metas = {}, []
        for i, part in enumerate(self.parts):
            found, meta = part.state()
            tensors |= {f"{i}|{k}": t for k, t in found.items()}
            metas.append(meta)
        return tensors, {"parts": metas, "weights": self.weights, "kinds": self.kinds}


@dataclass
class Parts:
    """Engines that were fitted to one corpus, by kind, so that readers made of others share them."""

    device: str = "cpu"
    ready: dict[str, Engine] = field(default_factory=dict)


def fit(
    kind: str,
    corpus: Corpus,
    tasks: Sequence[Task],
    seed: int,
    options: nwpa.Options,
    held_out: Corpus,
    parts: Parts,
) -> Engine:
    """`held_out` decides how the members of an ensemble are weighed, and nothing else."""

    def ready(kind: str) -> Engine:
        if kind not in parts.ready:
            parts.ready[kind] = made(kind)
        return parts.ready[kind]

    def made(kind: str) -> Engine:
        if kind in MADE_OF:
            return combine([ready(k) for k in MADE_OF[kind]], list(MADE_OF[kind]), tasks, held_out)
        if kind == "nwpa":
            return _fit_nwpa(corpus, tasks, seed, options, parts.device)
        return feature_engine.fit(corpus, WEIGHTS_ONLY if kind == ALL_FEATURES else [kind], tasks, seed)

    return ready(kind)


def _fit_nwpa(
    corpus: Corpus, tasks: Sequence[Task], seed: int, options: nwpa.Options, device: str
) -> NwpaEngine:
    fitted = [
        nwpa.fit(_labeled(corpus, mine), mine, derive_seed(seed, "net", i), options, mine[0].about, device)
        for mine in _together(tasks, options.own)
        for i in range(options.nets if mine[0].name in options.own else 1)
    ]
    return NwpaEngine(fitted, options)


def _together(tasks: Sequence[Task], own: Sequence[str]) -> list[list[Task]]:
    """Tasks by the network that answers them: each of `own` alone, the others of a kind in one."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.name if task.name in own else task.about, []).append(task)
    return list(found.values())


def _labeled(corpus: Corpus, tasks: Sequence[Task]) -> Corpus:
    """The networks of which the answer to any of the tasks is known."""
    known = np.isfinite(np.stack([target(corpus, task) for task in tasks])).any(0)
    return corpus if known.all() else corpus.take(np.flatnonzero(known))


def combine(parts: list[Engine], kinds: list[str], tasks: Sequence[Task], held_out: Corpus) -> EnsembleEngine:
    answers = [part.predict(held_out.population) for part in parts]
    weights = {}
    for task in tasks:
        y = target(held_out, task)
        known = np.isfinite(y)
        weights[task.name] = _weigh(task, y[known], [a[task.name][known] for a in answers])
    return EnsembleEngine(parts, weights, kinds)


def _weigh(task: Task, y: np.ndarray, answers: list[np.ndarray]) -> list[float]:
    """Greedy averaging (Caruana et al., 2004): ten picks with replacement, each the one that scores best."""
    picks: list[int] = []
    for _ in range(10):
        scores = [_gain(task, y, [answers[j] for j in [*picks, i]]) for i in range(len(answers))]
        picks.append(int(np.argmax(scores)))
    return [picks.count(i) / len(picks) for i in range(len(answers))]


def _gain(task: Task, y: np.ndarray, answers: list[np.ndarray]) -> float:
    value = score(task, y, np.mean(answers, axis=0))[task.metric] if len(y) > 1 else 0.0
    return value if np.isfinite(value) else -np.inf


def restore(
    kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], tasks: Sequence[Task]
) -> Engine:
    if "parts" in meta:
        parts = []
        for i, part in enumerate(meta["parts"]):
            mine = {k.split("|", 1)[1]: t for k, t in tensors.items() if k.split("|", 1)[0] == str(i)}
            parts.append(restore(meta["kinds"][i], mine, part, tasks))
        return EnsembleEngine(parts, {k: list(v) for k, v in meta["weights"].items()}, list(meta["kinds"]))
    if "branches" in meta:
        return _restore_nwpa(tensors, meta, tasks)
    return feature_engine.restore(tensors, meta, tasks)


def _restore_nwpa(
    tensors: Mapping[str, Tensor], meta: Mapping[str, Any], tasks: Sequence[Task]
) -> NwpaEngine:
    if meta.get("form") != nwpa.FORM:
        raise UsageError("the graph networks of this reader are of an older form.", hint="Train it again.")
    options = nwpa.Options(**meta["options"])
    by_name = {t.name: t for t in tasks}
    branches = []
    for i, stored in enumerate(meta["branches"]):
        shape = Shape(**stored["shape"])
        net = nwpa.build(shape, [by_name[n] for n in stored["tasks"]], options)
        mine = {k.split("|", 1)[1]: t for k, t in tensors.items() if k.split("|", 1)[0] == str(i)}
        net.load_state_dict(mine)
        branches.append(
            nwpa.Branch(
                stored["about"], net.eval(), stored["center"], stored["spread"], shape, stored["curve"]
            )
        )
    return NwpaEngine(branches, options)


def reads_weights_only(engine: Engine) -> bool:
    """False for engines that run the network."""
    if isinstance(engine, EnsembleEngine):
        return all(reads_weights_only(p) for p in engine.parts)
    return not (isinstance(engine, FeatureEngine) and any("probe" in k for k in engine.kinds.values()))
