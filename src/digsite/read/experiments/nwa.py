"""The original experiment, made honest: make a zoo, train every reader, compare, draw, write."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.base import atomic
from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.read.config import NwaConfig
from digsite.read.core.corpus import Corpus, corpus_of, read_labels, refuse_small
from digsite.read.core.engines import SharedParts, list_parts
from digsite.read.core.feature_engine import tabulate_kinds
from digsite.read.core.metrics import score_answers
from digsite.read.core.reader import Reader, load_reader, train_reader
from digsite.read.core.readers.nwpa import read_attention
from digsite.read.core.tasks import TASKS, ReadTask
from digsite.read.core.trust import OUTSIDE
from digsite.read.experiments import nwa_report as report
from digsite.read.figures import readers as figures
from digsite.read.judge import baselines, comparison, summary
from digsite.read.judge.comparison import ReaderOutcome, find_leaks
from digsite.record.verdict import cite
from digsite.worker.run import Run
from digsite.zoo import Zoo
from digsite.zoo.make import make_zoo

_GRAPH_OPTIONS = (
    "epochs",
    "batch_size",
    "lr",
    "weight_decay",
    "hidden_dim",
    "width",
    "num_layers",
    "dropout",
    "edge_dropout",
    "use_attention",
    "own",
    "nets",
)
_LEAK_KINDS = ("statistics", "spectra", "neurons")


@dataclass(frozen=True)
class Sides:
    """`train` holds the calibration networks too; a reader sets `held_out` of it aside. `earlier`: see train_reader."""

    train: Corpus
    test: Corpus
    held_out: float
    earlier: tuple[Corpus, ...]


def study_nwa(config: NwaConfig, run: Run) -> None:
    """The study: zoos are made (or one is opened), readers trained and compared, and everything is claimed, drawn, written.

    Tables and figures are of the first zoo; claims span all of them.
    """
    results = [_one_zoo(config, run, config.seed + i) for i in range(config.seeds)]
    outcome, extra = results[0]
    extra["zoos"] = len(results)
    run.table(
        "scores", pd.concat([comparison.score_table(o).assign(zoo=i) for i, (o, _) in enumerate(results)])
    )
    run.table("coverage", pd.DataFrame([row for _, e in results for row in e["coverage"]]))
    run.table("differences", report.tabulate_differences(outcome))
    report.write_views(outcome, extra, run)
    report.write_nwa_claims(results, run)
    if config.both_attentions:
        report.claim_attention(outcome, other_attention(config), config.seed, config.resamples, run)
    drawn: dict[str, str] = {}

    def save(name: str, *given: Any, caption: str = "") -> None:
        drawn[name] = caption
        run.figure(name, *given, caption=caption)

    figures.draw_outcome(outcome, extra, save)
    task = summary.asked_task(outcome, config.asks)
    best, metric = summary.find_leading(outcome, extra, task.name), summary.headline_metric(task)
    gap = [f"attention/{task.name}"] if config.both_attentions else []
    run.headline(
        [*gap, f"{best}/{task.name}/{metric}", f"{best}/{task.name}/coverage", f"{best}/{task.name}/r2"],
        hero=f"task-{task.name}",
    )
    answer = summary.write_verdict(outcome, extra, config.asks)
    if gap:
        answer += (
            f" Attention between neurons adds {cite(gap[0], style='.3f')} ({cite(gap[0], 'interval', '.3f')}) to the same "
            "graph network without it."
        )
    run.verdict(answer, on=[f"*/{task.name}/*"])
    folder = run.dir / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    text = summary.write_summary(outcome, extra, config.seeds, run.told(answer), drawn)
    atomic.write_text(folder / "results.md", text)


def _one_zoo(config: NwaConfig, run: Run, seed: int) -> tuple[ReaderOutcome, dict[str, Any]]:
    """Make or open, split, train every reader, judge on the test networks."""
    zoo = _open_or_make_zoo(config, run, seed)
    corpus = corpus_of(zoo)
    refuse_small(len(corpus), "compare readers")
    sides = _split_sides(config, zoo, corpus, seed)
    parts = SharedParts(str(run.device))
    readings = {kind: _read_kind(config, run, sides, kind, seed, parts) for kind in _order_kinds(config)}
    tasks = readings[next(iter(readings))]["tasks"]
    answers = {kind: f["answers"] for kind, f in readings.items()}
    answers |= run.once(
        f"trivial-{seed}", lambda: comparison.answer_trivially(tasks, sides.train, sides.test, seed)
    )
    answers = {m: {k: np.asarray(v) for k, v in a.items()} for m, a in answers.items()}
    outcome = comparison.compare_readers(tasks, answers, sides.test, seed, config.resamples)
    return outcome, _gather_extra(config, run, sides, readings, outcome, seed, zoo)


def _open_or_make_zoo(config: NwaConfig, run: Run, seed: int) -> Zoo:
    """A zoo of the run's own stays in its artifacts."""
    if config.zoo:
        return Zoo.open(config.zoo)
    recipe = config.recipe.model_copy(update={"members": config.num_models, "seed": seed})
    folder = run.dir / "artifacts" / f"zoo-{seed}"
    run.stage("zoo", -(-recipe.members // recipe.shard))
    for done in make_zoo(recipe, folder, f"{recipe.family}-{'-'.join(recipe.datasets)}", str(run.device)):
        run.let_signals_in(done)
    return Zoo.open(folder)


def _split_sides(config: NwaConfig, zoo: Zoo, corpus: Corpus, seed: int) -> Sides:
    """By training run, so that no test network shares one with a training network."""
    split = zoo.split("run", config.test_split, config.val_split, seed)
    row_of = {int(m): i for i, m in enumerate(corpus.labels["member"])}
    rows = [
        np.array([row_of[m] for m in side if m in row_of])
        for side in (split.train, split.validation, split.test)
    ]
    train = corpus.take(np.concatenate(rows[:2]))
    earlier = tuple(corpus_of(zoo, step) for step in config.earlier)
    return Sides(train, corpus.take(rows[2]), len(rows[1]) / max(1, len(train)), earlier)


def _order_kinds(config: NwaConfig) -> list[str]:
    """Those that are made of others last, so that a part is shared and not made twice."""
    if config.eval_only:
        return ["stored"]
    other = [other_attention(config)] if config.both_attentions else []
    return [*sorted(config.kinds(), key=lambda kind: bool(list_parts(kind))), *other]


def other_attention(config: NwaConfig) -> str:
    """What the graph network is called that differs from `nwpa` in nothing but attention between neurons."""
    return "nwpa_without_attention" if config.use_attention else "nwpa_with_attention"


def _train_kind(config: NwaConfig, sides: Sides, name: str, seed: int, parts: SharedParts) -> Reader:
    """Or the saved one where nothing is to be trained."""
    if config.eval_only:
        return load_reader(config.model_path)
    options = {o: getattr(config, o) for o in _GRAPH_OPTIONS}
    if config.both_attentions and name == other_attention(config):
        options["use_attention"] = not config.use_attention
        name, parts = "nwpa", SharedParts(parts.device)
    return train_reader(
        sides.train,
        name,
        config.tasks or None,
        held_out=sides.held_out,
        seed=derive_seed(seed, "reader"),
        parts=parts,
        earlier=sides.earlier,
        **options,
    )


def _read_kind(
    config: NwaConfig, run: Run, sides: Sides, kind: str, seed: int, parts: SharedParts
) -> dict[str, Any]:
    """Train one reader (or read back what a resumed run already knows) and let it answer on the test networks."""

    def compute() -> dict[str, Any]:
        reader = _train_kind(config, sides, kind, seed, parts)
        answers = reader.answers(sides.test)
        shifted = comparison.shuffled_inputs(sides.test, seed)
        vectors = reader.engine.represent(sides.test.population)
        if config.save_model:
            tensors, about = reader.packed()
            run.tensors(f"reader-{kind}-{seed}", tensors, about)
        return {
            "tasks": [t.name for t in reader.tasks],
            "classes": {t.name: list(t.classes) for t in reader.tasks},
            "answers": {k: torch.from_numpy(v) for k, v in answers.items()},
            "margins": reader.margins,
            "p_values": torch.from_numpy(reader.p_values(sides.test.population)),
            "vectors": _leading_components(vectors),
            "card": reader.card,
            "curves": _loss_curves(reader, config.own),
            "attention": _attention_of_first(reader, sides.test),
            "shift": _measure_shift(reader, shifted),
        }

    reading = run.once(f"{kind}-{seed}", compute)
    run.say(f"{kind}: trained and answered")
    for curve in reading["curves"]:
        for point in curve["points"]:
            points = {
                f"{kind}/{curve['about']}/{name}": value for name, value in point.items() if name != "epoch"
            }
            run.log(int(point["epoch"]), **points)
    return reading | {"tasks": _tasks_as_found(reading)}


def _tasks_as_found(readings: dict[str, Any]) -> tuple[ReadTask, ...]:
    """With the classes that the zoo has."""
    return tuple(replace(TASKS[n], classes=tuple(readings["classes"][n])) for n in readings["tasks"])


def _leading_components(vectors: np.ndarray) -> torch.Tensor:
    """(members, 32): representations for the maps, on their first principal components."""
    z = np.nan_to_num((vectors - np.nanmean(vectors, 0)) / (np.nanstd(vectors, 0) + 1e-9)).clip(-6, 6)
    u, s, _ = np.linalg.svd(z - z.mean(0), full_matrices=False)
    return torch.from_numpy(u[:, :32] * s[:32])


def _find_branches(reader: Reader) -> list[Any]:
    """Of the graph network, wherever it is in the reader."""
    engine: Any = reader.engine
    for part in [engine, *getattr(engine, "parts", [])]:
        if hasattr(part, "branches"):
            return part.branches
    return []


def _loss_curves(reader: Reader, own: Sequence[str]) -> list[dict[str, Any]]:
    """By kind of question, and by task for those that have networks of their own: of these the first."""
    shared: dict[str, list[dict[str, float]]] = {}
    for branch in _find_branches(reader):
        names = [t.name for t in branch.net.tasks]
        shared.setdefault(names[0] if names[0] in own else branch.about, branch.curve)
    return [{"about": name, "points": points} for name, points in shared.items()]


def _attention_of_first(reader: Reader, test: Corpus) -> list[dict[str, Any]]:
    """The attention over the neurons of the first test network, empty for readers without graph networks."""
    branches = _find_branches(reader)
    return read_attention(branches[0], test.take([0]).population) if branches else []


def _measure_shift(reader: Reader, shifted: Corpus | None) -> dict[str, Any]:
    """The share of shuffled-pixel networks that is flagged, and how often their accuracy is still covered."""
    if shifted is None:
        return {}
    p_values = reader.p_values(shifted.population)
    out: dict[str, Any] = {"flagged": float((p_values < OUTSIDE).mean())}
    by_name = {t.name: t for t in reader.tasks}
    if "test_accuracy" in by_name:
        y, value = read_labels(shifted, by_name["test_accuracy"]), reader.answers(shifted)["test_accuracy"]
        out["coverage"] = float((np.abs(y - value) <= reader.margins["test_accuracy"]).mean())
    return out


def _gather_extra(
    config: NwaConfig,
    run: Run,
    sides: Sides,
    readings: dict[str, Any],
    outcome: ReaderOutcome,
    seed: int,
    zoo: Zoo,
) -> dict[str, Any]:
    """What stands beside the scores: few labels, ceiling, coverage, leaks, shift, other splits."""
    tasks = outcome.tasks
    coverage = [
        row
        for kind, f in readings.items()
        for row in comparison.coverage_table(tasks, kind, outcome.answers[kind], f["margins"], outcome.truth)
    ]
    labels, how = comparison.rank_by_few_labels(sides.test, seed)
    ceiling = zoo.ceiling()
    readers = [k for k in readings if "test_accuracy" in outcome.scores.get(k, {})]
    return {
        "coverage": coverage,
        "reader": config.reader,
        "few_labels": labels,
        "few_labels_how": how,
        "ceiling": {"r2": ceiling.r2, "tau": ceiling.tau},
        "worth": {
            k: baselines.count_worth(outcome.scores[k]["test_accuracy"]["tau"].value, labels) for k in readers
        },
        "leaks": _list_leaks(sides.train, list(tasks)),
        "shift": {k: f["shift"] for k, f in readings.items() if f["shift"]},
        "flagged": {k: float((np.asarray(f["p_values"]) < OUTSIDE).mean()) for k, f in readings.items()},
        "taus": {k: outcome.scores[k]["test_accuracy"]["tau"].value for k in readers},
        "found": readings,
        "labels": sides.test.labels,
        "n_train": len(sides.train),
        "n_test": len(sides.test),
        "folder": _say_folder(zoo, run),
        "momentum_ceiling": baselines.momentum_ceiling(sides.test.labels),
        "splits": run.once(f"splits-{seed}", lambda: _other_splits(config, zoo, sides)),
        "runs": {k: bool(f["card"]["runs_the_network"]) for k, f in readings.items()},
    }


def _say_folder(zoo: Zoo, run: Run) -> str:
    """Where the zoo lies, seen from the run that made it: an absolute path would differ between two equal runs."""
    inside = zoo.folder.is_relative_to(run.dir)
    return zoo.folder.relative_to(run.dir).as_posix() if inside else str(zoo.folder)


def _list_leaks(train: Corpus, tasks: list[ReadTask]) -> list[dict[str, Any]]:
    """Columns of plain features that give a target away, as the weights lie."""
    sample = train.take(np.arange(min(len(train), 500)))
    table = tabulate_kinds(sample.population, _LEAK_KINDS, "recipe", {})
    targets = {t.name: read_labels(sample, t) for t in tasks}
    return [vars(leak) for leak in find_leaks(table, targets, tasks)]


def _other_splits(config: NwaConfig, zoo: Zoo, sides: Sides) -> list[dict[str, Any]]:
    """Test accuracy again where whole recipes, data sets or architectures are new to the reader."""
    if not config.other_splits or "test_accuracy" not in sides.test.labels:
        return []
    corpus = corpus_of(zoo)
    row_of = {int(m): i for i, m in enumerate(corpus.labels["member"])}
    rows = []
    for by in ("run", "recipe", "dataset", "architecture"):
        try:
            split = zoo.split(by, config.test_split, 0.0, config.seed)
        except UsageError:  # the zoo has one data set, or one architecture
            continue
        train, test = (corpus.take([row_of[m] for m in s if m in row_of]) for s in (split.train, split.test))
        if len(train) < 30 or len(test) < 5:
            continue
        for kind in ("statistics", "neurons"):
            reader = train_reader(train, kind, ["test_accuracy"], seed=config.seed)
            y, value = read_labels(test, reader.tasks[0]), reader.answers(test)["test_accuracy"]
            scores = score_answers(reader.tasks[0], y, value)
            inside = np.abs(y - value) <= reader.margins["test_accuracy"]
            rows.append(
                {
                    "split": by,
                    "method": kind,
                    "r2": scores["r2"],
                    "tau": scores["tau"],
                    "coverage": float(inside.mean()),
                    "n": len(test),
                }
            )
    return rows
