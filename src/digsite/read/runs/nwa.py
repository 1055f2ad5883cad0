"""The original experiment, made honest: make a zoo, train every reader, compare, draw, write."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.base import atomic
from digsite.base.errors import UsageError
from digsite.base.streams import derive
from digsite.read import baselines, comparison, figures, summary
from digsite.read.comparison import Outcome
from digsite.read.config import NwaConfig
from digsite.read.corpus import Corpus, corpus_of, refuse_small, target
from digsite.read.feature_engine import features_of
from digsite.read.leaks import find_leaks
from digsite.read.metrics import main_metrics
from digsite.read.reader import Reader, load_reader, train_reader
from digsite.read.tasks import Task
from digsite.worker.run import Run
from digsite.zoo import Zoo
from digsite.zoo.make import make_zoo

_GRAPH_OPTIONS = ("epochs", "batch_size", "lr", "weight_decay", "hidden_dim", "width", "num_layers", "dropout",
                  "edge_dropout", "use_attention")  # fmt: skip
_LEAK_KINDS = ("statistics", "spectra", "neurons")


@dataclass(frozen=True)
class Sides:
    """`train` holds the calibration networks too; a reader sets `held_out` of it aside."""

    train: Corpus
    test: Corpus
    held_out: float


def nwa(config: NwaConfig, run: Run) -> None:
    results = [_one_zoo(config, run, config.seed + i) for i in range(config.seeds)]
    outcome, extra = results[0]
    run.table(
        "scores", pd.concat([comparison.score_table(o).assign(zoo=i) for i, (o, _) in enumerate(results)])
    )
    run.table("coverage", pd.DataFrame([row for _, e in results for row in e["coverage"]]))
    run.table("differences", _difference_rows(outcome))
    _views(outcome, run)
    _claims(results, run)
    figures.draw(outcome, extra, run.figure)
    text = summary.write(outcome, extra, config.seeds)
    folder = run.dir / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / "results.md", text)
    run.verdict(summary.verdict(outcome, extra), on=["*/test_accuracy/tau", "*/test_accuracy/r2"])


def _views(outcome: Outcome, run: Run) -> None:
    """Tables to sort, and every reader's predictions against the truth for the first number that was read."""
    for name in ("scores", "coverage", "differences"):
        run.view(name, kind="table", source=f"tables/{name}.csv")
    task = next((t.name for t in outcome.tasks if t.kind == "regression"), None)
    if task is None:
        return
    truth = outcome.truth[task]
    frames = [
        pd.DataFrame({"reader": method, "truth": truth, "predicted": np.asarray(found[task], dtype=float)})
        for method, found in outcome.answers.items()
        if task in found
    ]
    run.table("predictions", pd.concat(frames))
    run.view(
        f"predicted {task}", kind="curve", style="points", source="tables/predictions.csv", x="truth", y="predicted",
        group="reader", x_label=f"true {task}", y_label=f"predicted {task}",
    )  # fmt: skip


def _one_zoo(config: NwaConfig, run: Run, seed: int) -> tuple[Outcome, dict[str, Any]]:
    zoo = _zoo(config, run, seed)
    corpus = corpus_of(zoo)
    refuse_small(len(corpus), "compare readers")
    sides = _sides(config, zoo, corpus, seed)
    found = {kind: _read(config, run, sides, kind, seed) for kind in _kinds(config)}
    tasks = found[next(iter(found))]["tasks"]
    answers = {kind: f["answers"] for kind, f in found.items()}
    answers |= run.once(f"trivial-{seed}", lambda: comparison.trivial(tasks, sides.train, sides.test, seed))
    answers = {m: {k: np.asarray(v) for k, v in a.items()} for m, a in answers.items()}
    outcome = comparison.compare(tasks, answers, sides.test, seed, config.resamples)
    return outcome, _extra(config, run, sides, found, outcome, seed, zoo)


def _zoo(config: NwaConfig, run: Run, seed: int) -> Zoo:
    if config.zoo:
        return Zoo.open(config.zoo)
    recipe = config.recipe.model_copy(update={"members": config.num_models, "seed": seed})
    folder = run.dir / "artifacts" / f"zoo-{seed}"
    run.stage("zoo", -(-recipe.members // recipe.shard))
    for done in make_zoo(recipe, folder, f"{recipe.family}-{'-'.join(recipe.datasets)}"):
        run.breathe(done)
    return Zoo.open(folder)


def _sides(config: NwaConfig, zoo: Zoo, corpus: Corpus, seed: int) -> Sides:
    split = zoo.split("run", config.test_split, config.val_split, seed)
    place = {int(m): i for i, m in enumerate(corpus.labels["member"])}
    rows = [
        np.array([place[m] for m in side if m in place])
        for side in (split.train, split.validation, split.test)
    ]
    train = corpus.take(np.concatenate(rows[:2]))
    return Sides(train, corpus.take(rows[2]), len(rows[1]) / max(1, len(train)))


def _kinds(config: NwaConfig) -> list[str]:
    return ["stored"] if config.eval_only else config.kinds()


def _reader(config: NwaConfig, sides: Sides, kind: str, seed: int) -> Reader:
    if config.eval_only:
        return load_reader(config.model_path)
    options = {name: getattr(config, name) for name in _GRAPH_OPTIONS}
    return train_reader(
        sides.train,
        kind,
        config.tasks or None,
        held_out=sides.held_out,
        seed=derive(seed, f"reader/{kind}"),
        **options,
    )


def _read(config: NwaConfig, run: Run, sides: Sides, kind: str, seed: int) -> dict[str, Any]:
    """Train one reader (or read back what a resumed run already knows) and let it answer on the test networks."""

    def compute() -> dict[str, Any]:
        reader = _reader(config, sides, kind, seed)
        answers = reader.answers(sides.test)
        shifted = comparison.shuffled_inputs(sides.test, seed)
        vectors = reader.engine.represent(sides.test.population)
        if config.save_model:
            tensors, about = reader.packed()
            run.tensors(f"reader-{kind}-{seed}", tensors, about)
        return {
            "tasks": [t.name for t in reader.tasks], "classes": {t.name: list(t.classes) for t in reader.tasks},
            "answers": {k: torch.from_numpy(v) for k, v in answers.items()}, "margins": reader.margins,
            "p_values": torch.from_numpy(reader.p_values(sides.test.population)), "vectors": _few(vectors),
            "card": reader.card, "curves": _curves(reader), "attention": _attention(reader, sides.test),
            "shift": _shift(reader, shifted),
        }  # fmt: skip

    found = run.once(f"{kind}-{seed}", compute)
    run.say(f"{kind}: trained and answered")
    for curve in found["curves"]:
        for point in curve["points"]:
            run.log(int(point["epoch"]), **{f"{kind}/{curve['about']}/loss": point["loss"]})
    return found | {"tasks": _tasks(found)}


def _tasks(found: dict[str, Any]) -> tuple[Task, ...]:
    from dataclasses import replace

    from digsite.read.tasks import task

    return tuple(replace(task(n), classes=tuple(found["classes"][n])) for n in found["tasks"])


def _few(vectors: np.ndarray) -> torch.Tensor:
    """Representations for the maps: their first 32 principal components."""
    z = np.nan_to_num((vectors - np.nanmean(vectors, 0)) / (np.nanstd(vectors, 0) + 1e-9)).clip(-6, 6)
    u, s, _ = np.linalg.svd(z - z.mean(0), full_matrices=False)
    return torch.from_numpy(u[:, :32] * s[:32])


def _branches(reader: Reader) -> list[Any]:
    engine: Any = reader.engine
    for part in [engine, *getattr(engine, "parts", [])]:
        if hasattr(part, "branches"):
            return part.branches
    return []


def _curves(reader: Reader) -> list[dict[str, Any]]:
    return [{"about": b.about, "points": b.curve} for b in _branches(reader)]


def _attention(reader: Reader, test: Corpus) -> list[dict[str, Any]]:
    from digsite.read.readers.nwpa import attention

    branches = _branches(reader)
    return attention(branches[0], test.take([0]).population) if branches else []


def _shift(reader: Reader, shifted: Corpus | None) -> dict[str, Any]:
    """The share of shuffled-pixel networks that is flagged, and how often their accuracy is still covered."""
    if shifted is None:
        return {}
    p_values = reader.p_values(shifted.population)
    out: dict[str, Any] = {"flagged": float((p_values < 0.01).mean())}
    by_name = {t.name: t for t in reader.tasks}
    if "test_accuracy" in by_name:
        y, value = target(shifted, by_name["test_accuracy"]), reader.answers(shifted)["test_accuracy"]
        out["coverage"] = float((np.abs(y - value) <= reader.margins["test_accuracy"]).mean())
    return out


def _extra(
    config: NwaConfig, run: Run, sides: Sides, found: dict[str, Any], outcome: Outcome, seed: int, zoo: Zoo
) -> dict[str, Any]:
    """What stands beside the scores: few labels, ceiling, coverage, leaks, shift, other splits."""
    tasks = outcome.tasks
    coverage = [
        row for kind, f in found.items()
        for row in comparison.coverage_table(tasks, kind, outcome.answers[kind], f["margins"], outcome.truth)
    ]  # fmt: skip
    labels, how = comparison.few_labels(sides.test, seed)
    ceiling = zoo.ceiling()
    readers = [k for k in found if "test_accuracy" in outcome.scores.get(k, {})]
    return {
        "coverage": coverage, "few_labels": labels, "few_labels_how": how,
        "ceiling": {"r2": ceiling.r2, "tau": ceiling.tau},
        "worth": {k: baselines.worth(outcome.scores[k]["test_accuracy"]["tau"].value, labels) for k in readers},
        "leaks": _leaks(sides.train, list(tasks)), "shift": {k: f["shift"] for k, f in found.items() if f["shift"]},
        "flagged": {k: float((np.asarray(f["p_values"]) < 0.01).mean()) for k, f in found.items()},
        "taus": {k: outcome.scores[k]["test_accuracy"]["tau"].value for k in readers},
        "found": found, "labels": sides.test.labels, "n_train": len(sides.train), "n_test": len(sides.test),
        "splits": run.once(f"splits-{seed}", lambda: _other_splits(config, zoo, sides)),
        "runs": {k: bool(f["card"]["runs_the_network"]) for k, f in found.items()},
    }  # fmt: skip


def _leaks(train: Corpus, tasks: list[Task]) -> list[dict[str, Any]]:
    """Columns of plain features that give a target away, as the weights lie."""
    sample = train.take(np.arange(min(len(train), 500)))
    table = features_of(sample.population, _LEAK_KINDS, "recipe", {})
    targets = {t.name: target(sample, t) for t in tasks}
    return [vars(leak) for leak in find_leaks(table, targets, tasks)]


def _other_splits(config: NwaConfig, zoo: Zoo, sides: Sides) -> list[dict[str, Any]]:
    """Test accuracy again where whole recipes, data sets or architectures are new to the reader."""
    if not config.other_splits or "test_accuracy" not in sides.test.labels:
        return []
    corpus = corpus_of(zoo)
    place = {int(m): i for i, m in enumerate(corpus.labels["member"])}
    rows = []
    for by in ("run", "recipe", "dataset", "architecture"):
        try:
            split = zoo.split(by, config.test_split, 0.0, config.seed)
        except UsageError:  # the zoo has one data set, or one architecture
            continue
        train, test = (corpus.take([place[m] for m in s if m in place]) for s in (split.train, split.test))
        if len(train) < 30 or len(test) < 5:
            continue
        for kind in ("statistics", "neurons"):
            reader = train_reader(train, kind, ["test_accuracy"], seed=config.seed)
            y, value = target(test, reader.tasks[0]), reader.answers(test)["test_accuracy"]
            from digsite.read.metrics import score

            found = score(reader.tasks[0], y, value)
            inside = np.abs(y - value) <= reader.margins["test_accuracy"]
            rows.append({"split": by, "method": kind, "r2": found["r2"], "tau": found["tau"],
                         "coverage": float(inside.mean()), "n": len(test)})  # fmt: skip
    return rows


def _difference_rows(outcome: Outcome) -> pd.DataFrame:
    rows = [
        {"method": m, "task": t, "difference": s.value, "low": s.low, "high": s.high, "n": s.n}
        for m, by_task in outcome.differences.items() for t, s in by_task.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "task", "difference", "low", "high", "n"])


def _claims(results: list[tuple[Outcome, dict[str, Any]]], run: Run) -> None:
    """`<reader>/<task>/<metric>`: one zoo with its bootstrap interval, or the mean over zoos with their range."""
    outcome, extra = results[0]
    for method in [*extra["found"], "hyperparameters"]:
        for task in outcome.tasks:
            for metric in main_metrics(task):
                scores = [
                    o.scores[method][task.name][metric] for o, _ in results if task.name in o.scores[method]
                ]
                null = outcome.scores["constant"][task.name].get(metric)
                _claim(run, f"{method}/{task.name}/{metric}", scores, null.value if null else None)
    for kind in extra["found"]:
        values = [r["coverage"] for _, e in results for r in e["coverage"] if r["method"] == kind]
        run.claim(f"{kind}/coverage", float(np.mean(values)), null=0.9, n=len(values), note="mean over tasks")
        shifted = [e["shift"][kind]["flagged"] for _, e in results if kind in e["shift"]]
        if shifted:
            flagged = [e["flagged"][kind] for _, e in results]
            run.claim(f"{kind}/flagged_when_pixels_shuffled", float(np.mean(shifted)), null=float(np.mean(flagged)),
                      n=len(shifted), note="null: share of the zoo's own test networks that is flagged")  # fmt: skip
    for name, value in extra["worth"].items():
        run.claim(f"{name}/worth_labeled_images", value, note=extra["few_labels_how"])


def _claim(run: Run, name: str, scores: list[Any], null: float | None) -> None:
    values = [s.value for s in scores]
    if len(scores) == 1:
        s = scores[0]
        run.claim(
            name, s.value, low=s.low, high=s.high, n=s.n, null=null, note="95 % bootstrap over test networks"
        )
    else:
        run.claim(name, float(np.mean(values)), low=min(values), high=max(values), n=len(values), null=null,
                  note="mean and range over zoo seeds")  # fmt: skip
