"""Several readers on the same test networks: scores, baselines, coverage, leaks, and what changes under shift."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from digsite.base.errors import DigsiteError
from digsite.base.streams import derive_seed
from digsite.data import load
from digsite.read.core import metrics, trust
from digsite.read.core.corpus import Corpus, read_labels
from digsite.read.core.engines import Answers
from digsite.read.core.metrics import Score, measure_auroc
from digsite.read.core.population import FeatureTable
from digsite.read.core.tasks import ReadTask
from digsite.read.judge import baselines

TRIVIAL = ("constant", "hyperparameters")  # baselines, which no verdict may call a reader


ALIVE = 2.0  # a network is alive from this multiple of the accuracy of guessing
_IMAGES = 512


@dataclass(frozen=True)
class ReaderOutcome:
    """Everything that is reported, by method and task."""

    tasks: tuple[ReadTask, ...]
    answers: dict[str, Answers]
    truth: dict[str, np.ndarray]
    scores: dict[str, dict[str, dict[str, Score]]]
    survivors: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    differences: dict[str, dict[str, Score]] = field(default_factory=dict)


def compare_readers(
    tasks: tuple[ReadTask, ...], answers: Mapping[str, Answers], test: Corpus, seed: int, resamples: int
) -> ReaderOutcome:
    """Every method scored on the same networks and the same resamples.

    `answers` by method and task: readers and baselines alike. `seed` draws the resamples, one stream per task.
    """
    truth = {t.name: read_labels(test, t) for t in tasks}
    alive = find_survivors(test)
    scores: dict[str, dict[str, dict[str, Score]]] = {}
    living: dict[str, dict[str, dict[str, float]]] = {}
    for method, answered in answers.items():
        for task in tasks:
            if task.name not in answered:
                continue
            y, known = truth[task.name], np.isfinite(truth[task.name])
            answer = np.asarray(answered[task.name])
            rng = np.random.default_rng(derive_seed(seed, f"bootstrap/{task.name}"))
            scores.setdefault(method, {})[task.name] = metrics.bootstrap_scores(
                task, y[known], answer[known], rng, resamples
            )
            both = known & alive
            if both.sum() > 2:
                living.setdefault(method, {})[task.name] = metrics.score_answers(task, y[both], answer[both])
    return ReaderOutcome(
        tasks, dict(answers), truth, scores, living, _pair_differences(tasks, answers, truth, seed, resamples)
    )


def find_survivors(test: Corpus) -> np.ndarray:
    """(members,) booleans: networks that learned something. A zoo of dead and living ones inflates R2."""
    if "test_accuracy" not in test.labels:
        return np.ones(len(test), dtype=bool)
    n_classes = sum(c.startswith("class_accuracy_") for c in test.labels) or 10
    return test.labels["test_accuracy"].to_numpy(dtype=float) >= ALIVE / n_classes


def _pair_differences(
    tasks: tuple[ReadTask, ...],
    answers: Mapping[str, Answers],
    truth: dict[str, np.ndarray],
    seed: int,
    resamples: int,
) -> dict[str, dict[str, Score]]:
    """Each reader against `statistics` (or the first), paired on the same networks."""
    against = "statistics" if "statistics" in answers else next(iter(answers))
    out: dict[str, dict[str, Score]] = {}
    for method in answers:
        for task in tasks:
            if method == against or task.name not in answers[method] or task.name not in answers[against]:
                continue
            metric = "tau" if task.is_regression else "accuracy"
            y, known = truth[task.name], np.isfinite(truth[task.name])
            rng = np.random.default_rng(derive_seed(seed, f"bootstrap/{task.name}"))
            out.setdefault(method, {})[task.name] = metrics.bootstrap_difference(
                task,
                y[known],
                np.asarray(answers[method][task.name])[known],
                np.asarray(answers[against][task.name])[known],
                metric,
                rng,
                resamples // 2,
            )
    return out


def answer_trivially(
    tasks: tuple[ReadTask, ...], train: Corpus, test: Corpus, seed: int
) -> dict[str, dict[str, torch.Tensor]]:
    """The answers of the constant and of trees on hyper-parameters."""
    return {
        "constant": {t.name: torch.from_numpy(baselines.answer_constant(t, train, len(test))) for t in tasks},
        "hyperparameters": {
            t.name: torch.from_numpy(
                baselines.hyper_parameters(t, train, test, derive_seed(seed, f"hyper/{t.name}"))
            )
            for t in tasks
        },
    }


def rank_by_few_labels(test: Corpus, seed: int) -> tuple[dict[int, float], str]:
    """Tau of accuracy measured on k labeled images, by k; and in words how it was measured.

    Networks are run where their images are at hand; else right and wrong answers are drawn from the known accuracy.
    """
    accuracy = test.labels["test_accuracy"].to_numpy(dtype=float)
    rng = np.random.default_rng(derive_seed(seed, "labeled-images"))
    runnable = all(g.skeleton is not None for g in test.population.groups)
    if test.dataset and runnable:
        try:
            images = load(test.dataset)
        except DigsiteError:
            images = None
        if images is not None:
            pick = torch.from_numpy(rng.permutation(len(images.y_test))[:_IMAGES])
            correct = baselines.mark_correct(test.population, images.x_test[pick], images.y_test[pick])
            return baselines.labeled_images(correct, accuracy, rng), "networks run on test images"
    drawn = rng.random((len(test), max(baselines.COUNTS))) < accuracy[:, None]
    return baselines.labeled_images(drawn, accuracy, rng), "binomial draws: the images are not at hand"


def coverage_table(
    tasks: tuple[ReadTask, ...],
    method: str,
    answers: Answers,
    margins: Mapping[str, float],
    truth: Mapping[str, np.ndarray],
) -> list[dict[str, object]]:
    """Share of test networks whose truth lies in the 90 % interval or set, and how wide that is, by task.

    `margins`: half-widths of intervals and least probabilities of sets, as a reader's calibration gave them.
    """
    rows = []
    for task in tasks:
        y, answer = truth[task.name], np.asarray(answers[task.name])
        known = np.isfinite(y)
        if task.is_regression:
            covered, width = (trust.measure_coverage(y, answer, margins[task.name]), 2 * margins[task.name])
        else:
            sets = trust.class_sets(answer[known], margins[task.name])
            covered, width = (
                float(sets[np.arange(known.sum()), y[known].astype(int)].mean()),
                float(sets.sum(1).mean()),
            )
        rows.append(
            {"method": method, "task": task.name, "coverage": covered, "width": width, "n": int(known.sum())}
        )
    return rows


def shuffled_inputs(test: Corpus, seed: int) -> Corpus | None:
    """The same networks as if trained on images with shuffled pixels: an exact, known shift of the data.

    Their accuracy on those images is what it was, and every weight but the order of the inputs too.
    """
    graph = test.population.groups[0].graph
    first = next((b for b in graph.blocks_of("linear") if graph.nodes[b.source].is_input), None)
    if first is None or graph.nodes[first.source].size < 8:
        return None
    rng = np.random.default_rng(derive_seed(seed, "shuffled-pixels"))
    order = torch.from_numpy(rng.permutation(graph.nodes[first.source].size))
    groups = []
    for group in test.population.groups:
        name = first.tensors[0]
        tensors = {k: t[..., order] if k == name else t for k, t in group.tensors.items()}
        stored = {k: t[..., order] if k == name else t for k, t in group.stored.items()}
        groups.append(type(group)(group.graph, tensors, group.rows, stored, group.skeleton))
    return Corpus(type(test.population)(groups, len(test)), test.labels, f"{test.name}, pixels shuffled", "")


def score_table(outcome: ReaderOutcome) -> pd.DataFrame:
    """One row per method, task and metric, with its interval and its value among survivors."""
    rows = []
    for method, by_task in outcome.scores.items():
        for name, scores in by_task.items():
            for metric, s in scores.items():
                alive = outcome.survivors.get(method, {}).get(name, {}).get(metric, np.nan)
                rows.append(
                    {
                        "method": method,
                        "task": name,
                        "metric": metric,
                        "value": s.value,
                        "low": s.low,
                        "high": s.high,
                        "survivors": alive,
                        "n": s.n,
                    }
                )
    return pd.DataFrame(rows)


# Can a target be read off an input column? Then a score says nothing, and the report must say so.

LIMIT = 0.995


@dataclass(frozen=True)
class Leak:
    """A column that tells the label by how the zoo was made."""

    task: str
    column: str
    strength: float  # |rank correlation|, or how well the column alone separates two classes (1 = exactly)


def find_leaks(table: FeatureTable, targets: dict[str, np.ndarray], tasks: list[ReadTask]) -> list[Leak]:
    """The strongest column of each task, if it alone all but determines the target.

    `table` holds plain features, `targets` (members,) by task with NaN where not known. Fewer than ten known networks
    are not judged: ranks of so few agree by chance.
    """
    ranks = (
        np.apply_along_axis(rankdata, 0, np.nan_to_num(table.values)) if table.values.size else table.values
    )
    leaks = []
    for task in tasks:
        y = targets[task.name]
        known = np.isfinite(y)
        if known.sum() < 10 or not table.values.size:
            continue
        strength = (
            _rank_correlation(ranks[known], y[known])
            if task.is_regression
            else _separate_classes(table.values[known], y[known].astype(int))
        )
        best = int(np.nanargmax(strength))
        if strength[best] >= LIMIT:
            leaks.append(Leak(task.name, table.names[best], float(strength[best])))
    return leaks


def _rank_correlation(ranks: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of every column with y, zero for constant ones."""
    a = ranks - ranks.mean(0)
    b = rankdata(y) - (len(y) + 1) / 2
    scale = np.sqrt((a**2).sum(0) * (b**2).sum())
    return np.abs(np.divide(a.T @ b, scale, out=np.zeros(a.shape[1]), where=scale > 0))


def _separate_classes(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Per column: the worst class's one-against-rest AUROC, folded; 1 only if the column tells every class."""
    out = np.ones(values.shape[1])
    for c in np.unique(y):
        areas = np.array([measure_auroc(y == c, np.nan_to_num(column)) for column in values.T])
        out = np.minimum(out, np.maximum(areas, 1 - areas))
    return out
