"""What a trained reader is inside: features with heads, graph networks, or several of these with learned weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.read.core import feature_engine
from digsite.read.core.corpus import Corpus, read_labels
from digsite.read.core.edges import ZooShape
from digsite.read.core.feature_engine import FeatureEngine, list_columns_readers
from digsite.read.core.metrics import score_answers
from digsite.read.core.population import Population
from digsite.read.core.readers import nwpa
from digsite.read.core.tasks import ReadTask

Answers = dict[str, np.ndarray]
Stored = tuple[dict[str, Tensor], dict[str, Any]]
ALL_FEATURES = "features"  # trees over the columns of several members side by side: no reader of its own


class ReaderEngine(Protocol):
    """What every trained reader is inside: answers by task, a vector per network, and itself as tensors and plain data."""

    def predict(self, population: Population) -> Answers:
        """Answers by task."""
        ...

    def represent(self, population: Population) -> np.ndarray:
        """The vector (members, width) in which strangers are looked for."""
        ...

    def state(self) -> Stored:
        """Tensors and plain data from which it is built again."""
        ...


@dataclass
class NwpaEngine:
    """One graph network for tasks about the function, one for those about the recipe, `nets` for each of `own`."""

    branches: list[nwpa.Branch]
    options: nwpa.GraphOptions

    def predict(self, population: Population) -> Answers:
        """Answers by task; where several networks answer one task, their mean."""
        answers: dict[str, list[np.ndarray]] = {}
        for branch in self.branches:
            for task, answer in nwpa.predict_branch(branch, population)[0].items():
                answers.setdefault(task, []).append(answer)
        return {task: np.mean(each, axis=0) for task, each in answers.items()}

    def represent(self, population: Population) -> np.ndarray:
        """(members, hidden): the summary vectors of the first branch."""
        return nwpa.predict_branch(self.branches[0], population)[1]

    def state(self) -> Stored:
        """Parameters as `branch|name`, and what is needed to build the same networks again."""
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

    parts: list[ReaderEngine]
    weights: dict[str, list[float]]
    kinds: list[str]

    def predict(self, population: Population) -> Answers:
        """The weighted mean of the parts' values or probabilities, by task."""
        answers = [part.predict(population) for part in self.parts]
        return {
            name: np.sum([w * a[name] for w, a in zip(weights, answers)], axis=0)
            for name, weights in self.weights.items()
        }

    def represent(self, population: Population) -> np.ndarray:
        """What the first part represents: one map of a zoo is enough, and features come first."""
        return self.parts[0].represent(population)

    def state(self) -> Stored:
        """Tensors as `part|name`, and each part's own metadata."""
        tensors, metas = {}, []
        for i, part in enumerate(self.parts):
            stored, meta = part.state()
            tensors |= {f"{i}|{k}": t for k, t in stored.items()}
            metas.append(meta)
        return tensors, {"parts": metas, "weights": self.weights, "kinds": self.kinds}


@dataclass
class SharedParts:
    """Engines that were fitted to one corpus, by kind, so that readers made of others share them."""

    device: str = "cpu"
    ready: dict[str, ReaderEngine] = field(default_factory=dict)


def fit_engine(
    kind: str,
    corpus: Corpus,
    tasks: Sequence[ReadTask],
    seed: int,
    options: nwpa.GraphOptions,
    held_out: Corpus,
    parts: SharedParts,
) -> ReaderEngine:
    """An engine of one kind, fitted to a corpus.

    `held_out` decides how the members of an ensemble are weighed, and shows the graph networks' validation loss; nothing
    else. `parts` keeps what other readers of
    the same corpus and seed have fitted already; `options` are those of the graph networks.
    """

    def fit_once(name: str) -> ReaderEngine:
        if name not in parts.ready:
            parts.ready[name] = fit_named(name)
        return parts.ready[name]

    def fit_named(name: str) -> ReaderEngine:
        if name == ALL_FEATURES:
            return feature_engine.fit_features(corpus, list_columns_readers(), tasks, seed)
        if members := list_parts(name):
            return combine_engines([fit_once(m) for m in members], list(members), tasks, held_out)
        if families.read_tag(feature_engine.READERS, name, "OWN_ENGINE"):
            return _fit_nwpa(corpus, tasks, seed, options, parts.device, held_out)
        return feature_engine.fit_features(corpus, [name], tasks, seed)

    return fit_once(kind)


def list_parts(name: str) -> tuple[str, ...]:
    """Readers that a reader averages; empty for one that stands for itself, and for the trees over all columns."""
    return () if name == ALL_FEATURES else families.read_tag(feature_engine.READERS, name, "MADE_OF")


def _fit_nwpa(
    corpus: Corpus,
    tasks: Sequence[ReadTask],
    seed: int,
    options: nwpa.GraphOptions,
    device: str,
    held_out: Corpus,
) -> NwpaEngine:
    """Several graph networks where a task asks for them, their answers averaged."""
    fitted = [
        nwpa.fit_branch(
            _keep_labeled(corpus, group),
            group,
            derive_seed(seed, "net", i),
            options,
            group[0].about,
            device,
            held_out,
        )
        for group in _group_tasks(tasks, options.own)
        for i in range(options.nets if group[0].name in options.own else 1)
    ]
    return NwpaEngine(fitted, options)


def _group_tasks(tasks: Sequence[ReadTask], own: Sequence[str]) -> list[list[ReadTask]]:
    """Tasks by the network that answers them: each of `own` alone, the others of a kind in one."""
    groups: dict[str, list[ReadTask]] = {}
    for task in tasks:
        groups.setdefault(task.name if task.name in own else task.about, []).append(task)
    return list(groups.values())


def _keep_labeled(corpus: Corpus, tasks: Sequence[ReadTask]) -> Corpus:
    """The networks of which the answer to any of the tasks is known."""
    known = np.isfinite(np.stack([read_labels(corpus, task) for task in tasks])).any(0)
    return corpus if known.all() else corpus.take(np.flatnonzero(known))


def combine_engines(
    parts: list[ReaderEngine], kinds: list[str], tasks: Sequence[ReadTask], held_out: Corpus
) -> EnsembleEngine:
    """Engines averaged, task by task with weights that greedy picking on `held_out` chose.

    `kinds` names the engines in their order; a weight of zero keeps an engine in the file and out of the answer.
    """
    answers = [part.predict(held_out.population) for part in parts]
    weights = {}
    for task in tasks:
        y = read_labels(held_out, task)
        known = np.isfinite(y)
        weights[task.name] = _pick_greedily(task, y[known], [a[task.name][known] for a in answers])
    return EnsembleEngine(parts, weights, kinds)


def _pick_greedily(task: ReadTask, y: np.ndarray, answers: list[np.ndarray]) -> list[float]:
    """Greedy averaging (Caruana et al., 2004): ten picks with replacement, each the one that scores best."""
    picks: list[int] = []
    for _ in range(10):
        scores = [_score_average(task, y, [answers[j] for j in [*picks, i]]) for i in range(len(answers))]
        picks.append(int(np.argmax(scores)))
    return [picks.count(i) / len(picks) for i in range(len(answers))]


def _score_average(task: ReadTask, y: np.ndarray, answers: list[np.ndarray]) -> float:
    """On networks that none of the averaged readers was trained on."""
    value = score_answers(task, y, np.mean(answers, axis=0))[task.metric] if len(y) > 1 else 0.0
    return value if np.isfinite(value) else -np.inf


def restore_engine(
    kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], tasks: Sequence[ReadTask]
) -> ReaderEngine:
    """The engine that `state()` gave `tensors` and `meta` of, told apart by what the metadata holds."""
    if "parts" in meta:
        parts = []
        for i, part in enumerate(meta["parts"]):
            own_tensors = {k.split("|", 1)[1]: t for k, t in tensors.items() if k.split("|", 1)[0] == str(i)}
            parts.append(restore_engine(meta["kinds"][i], own_tensors, part, tasks))
        return EnsembleEngine(parts, {k: list(v) for k, v in meta["weights"].items()}, list(meta["kinds"]))
    if "branches" in meta:
        return _restore_nwpa(tensors, meta, tasks)
    return feature_engine.restore_features(tensors, meta, tasks)


def _restore_nwpa(
    tensors: Mapping[str, Tensor], meta: Mapping[str, Any], tasks: Sequence[ReadTask]
) -> NwpaEngine:
    """A file of an older form is refused: its numbers would be read with another meaning."""
    if meta.get("form") != nwpa.FORM:
        raise UsageError("the graph networks of this reader are of an older form.", hint="Train it again.")
    options = nwpa.GraphOptions(**meta["options"])
    by_name = {t.name: t for t in tasks}
    branches = []
    for i, stored in enumerate(meta["branches"]):
        shape = ZooShape(**stored["shape"])
        net = nwpa.build_net(shape, [by_name[n] for n in stored["tasks"]], options)
        own_tensors = {k.split("|", 1)[1]: t for k, t in tensors.items() if k.split("|", 1)[0] == str(i)}
        net.load_state_dict(own_tensors)
        branches.append(
            nwpa.Branch(
                stored["about"], net.eval(), stored["center"], stored["spread"], shape, stored["curve"]
            )
        )
    return NwpaEngine(branches, options)


def reads_weights_only(engine: ReaderEngine) -> bool:
    """False for engines that run the network."""
    if isinstance(engine, EnsembleEngine):
        return all(reads_weights_only(p) for p in engine.parts)
    kinds = {k for about in engine.kinds.values() for k in about} if isinstance(engine, FeatureEngine) else ()
    return not any(families.read_tag(feature_engine.READERS, kind, "RUNS_NETWORK") for kind in kinds)
