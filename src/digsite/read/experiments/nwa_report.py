"""What a run of `nwa` leaves behind for its reader: views, one row per network, claims."""

from typing import Any

import numpy as np
import pandas as pd

from digsite.base.intervals import seed_interval
from digsite.base.streams import derive_seed
from digsite.read.core.metrics import Score, bootstrap_difference, main_metrics
from digsite.read.core.trust import OUTSIDE
from digsite.read.judge.comparison import ReaderOutcome
from digsite.read.judge.summary import asked_task, find_leading, rival_scores
from digsite.worker.run import Run

Results = list[tuple[ReaderOutcome, dict[str, Any]]]
_SHOWN = (
    "kind",
    "activation",
    "optimizer",
    "init",
    "lr",
    "dropout",
    "label_noise",
    "missing_class",
    "backdoor",
)


def write_views(outcome: ReaderOutcome, extra: dict[str, Any], run: Run) -> None:
    """Tables to sort, every network's prediction with its interval, and the map of what a reader tells apart."""
    for name in ("scores", "coverage", "differences"):
        run.view(name, kind="table", source=f"tables/{name}.csv")
    task = next((t.name for t in outcome.tasks if t.is_regression), None)
    if task is None:
        return
    tables = {kind: _tabulate_networks(kind, task, outcome, extra) for kind in extra["found"]}
    best = find_leading(outcome, extra, asked_task(outcome, task).name)
    run.table("networks", pd.concat(tables.values()))
    run.table("map", tables[best])
    points = {"kind": "curve", "style": "points", "label": "network"}
    run.view(
        f"predicted {task}",
        **points,
        source="tables/map.csv",
        x="truth",
        y="predicted",
        band=["low", "high"],
        group="in_zoo",
        x_label=f"true {task}",
        y_label=f"{task} as {best} reads it, 90 % intervals",
    )
    run.view(
        "zoo map",
        **points,
        source="tables/map.csv",
        x="map_x",
        y="map_y",
        group="optimizer",
        x_label=f"first component of what {best} represents",
        y_label="second component",
    )


def _tabulate_networks(kind: str, task: str, outcome: ReaderOutcome, extra: dict[str, Any]) -> pd.DataFrame:
    """One row per test network: what this reader says of it, how sure, where it lies, and how it was made."""
    reading, labels = extra["found"][kind], extra["labels"]
    value, margin = np.asarray(outcome.answers[kind][task], dtype=float), reading["margins"][task]
    where = np.asarray(reading["vectors"])[:, :2]
    table = pd.DataFrame(
        {
            "reader": kind,
            "network": [f"zoo:{extra['folder']}#{m}" for m in labels["member"]],
            "truth": outcome.truth[task],
            "predicted": value,
            "low": value - margin,
            "high": value + margin,
            "in_zoo": np.asarray(reading["p_values"]) >= OUTSIDE,
            "map_x": where[:, 0],
            "map_y": where[:, -1],
        }
    )
    return table.join(labels[[c for c in _SHOWN if c in labels]])


def tabulate_differences(outcome: ReaderOutcome) -> pd.DataFrame:
    """One row per method and task: how much better than `statistics`, with the paired interval."""
    rows = [
        {"method": m, "task": t, "difference": s.value, "low": s.low, "high": s.high, "n": s.n}
        for m, by_task in outcome.differences.items()
        for t, s in by_task.items()
    ]
    return pd.DataFrame(rows, columns=["method", "task", "difference", "low", "high", "n"])


METRIC_WORDS = {
    "r2": "R2 of {purpose}",
    "tau": "Ranking by {purpose} (Kendall's tau)",
    "accuracy": "Networks of which the {purpose} is named rightly",
    "auroc": "Telling {purpose} (AUROC)",
}


def write_nwa_claims(results: Results, run: Run) -> None:
    """`<reader>/<task>/<metric>`: the reader that leads a task claims it beside all others; theirs are measurements."""
    outcome, extra = results[0]
    for task in outcome.tasks:
        best = find_leading(outcome, extra, task.name)
        for metric in main_metrics(task):
            for method in [*extra["found"], "hyperparameters"]:
                scores = [
                    o.scores[method][task.name][metric] for o, _ in results if task.name in o.scores[method]
                ]
                beside: dict[str, Any] = {}
                if method == best:
                    beside = {"rivals": rival_scores(outcome, best, task.name, metric), "better": "higher"}
                _claim_scores(
                    run,
                    f"{method}/{task.name}/{metric}",
                    scores,
                    METRIC_WORDS[metric].format(purpose=task.purpose or task.name),
                    **beside,
                )
        _claim_coverage(run, extra, best, task.name)
    _claim_trust(results, run)


def claim_attention(outcome: ReaderOutcome, other: str, seed: int, resamples: int, run: Run) -> None:
    """Attention between neurons on minus off, task by task, on the same test networks and resamples."""
    on, off = (other, "nwpa") if other == "nwpa_with_attention" else ("nwpa", other)
    if not {on, off} <= outcome.answers.keys():
        return
    for task in outcome.tasks:
        y = outcome.truth[task.name]
        known = np.isfinite(y)
        with_it, without = (np.asarray(outcome.answers[m][task.name])[known] for m in (on, off))
        metric = "tau" if task.is_regression else "accuracy"
        rng = np.random.default_rng(derive_seed(seed, f"attention/{task.name}"))
        gap = bootstrap_difference(task, y[known], with_it, without, metric, rng, resamples)
        run.claim(
            f"attention/{task.name}",
            gap.value,
            low=gap.low,
            high=gap.high,
            n=gap.n,
            null=0.0,
            null_is="the same network without attention",
            kind="difference",
            better="higher",
            title=f"What attention between neurons adds to {task.purpose or task.name} ({metric})",
        )


def _claim_trust(results: Results, run: Run) -> None:
    """How far every reader can be trusted: its intervals, its flag for strangers, what it is worth."""
    _, extra = results[0]
    for kind in extra["found"]:
        values = [r["coverage"] for _, e in results for r in e["coverage"] if r["method"] == kind]
        run.claim(
            f"{kind}/coverage",
            float(np.mean(values)),
            null=0.9,
            n=len(values),
            kind="share",
            null_is="as stated",
            title=f"Intervals of {kind} that hold the truth, mean over tasks",
        )
        shifted = [e["shift"][kind]["flagged"] for _, e in results if kind in e["shift"]]
        if shifted:
            flagged = [e["flagged"][kind] for _, e in results]
            run.claim(
                f"{kind}/flagged_when_pixels_shuffled",
                float(np.mean(shifted)),
                null=float(np.mean(flagged)),
                n=len(shifted),
                kind="share",
                better="higher",
                null_is="the zoo's own test networks",
                title=f"Networks flagged as strangers by {kind} when their pixels are shuffled",
            )
    for name in extra["momentum_ceiling"]:
        values = [e["momentum_ceiling"][name] for _, e in results]
        run.claim(
            f"ceiling/{name}",
            float(np.mean(values)),
            n=len(values),
            title=f"Ceiling of {name}",
            note="knows all but whether SGD ran with momentum 0.9 and a tenth of the rate",
        )
    for name, value in extra["worth"].items():
        run.claim(
            f"{name}/worth_labeled_images",
            value,
            kind="count",
            note=extra["few_labels_how"],
            title=f"Labeled images that tell as much as {name}",
        )


def _claim_coverage(run: Run, extra: dict[str, Any], reader: str, task: str) -> None:
    """How often the leading reader's 90 % intervals hold the truth, counted over test networks."""
    row = next((r for r in extra["coverage"] if (r["method"], r["task"]) == (reader, task)), None)
    if row is not None and row["n"]:
        hits, beside = round(row["coverage"] * row["n"]), {"null": 0.9, "null_is": "as stated"}
        title = f"Intervals for {task} that hold the truth"
        run.claim_share(f"{reader}/{task}/coverage", hits, row["n"], title=title, **beside)


def _claim_scores(run: Run, name: str, scores: list[Score], title: str = "", **beside: Any) -> None:
    """One zoo with its bootstrap interval; several zoos as repeats, which few of them leave as points."""
    values = [s.value for s in scores]
    if len(scores) == 1:
        s = scores[0]
        run.claim(
            name,
            s.value,
            low=s.low,
            high=s.high,
            n=s.n,
            title=title,
            kind="correlation",
            **beside,
            note="bootstrap over test networks",
        )
    else:
        over = seed_interval(values, "correlation")
        run.claim(
            name,
            float(np.mean(values)),
            interval=over,
            title=title,
            kind="correlation",
            **beside,
            note=f"mean over {len(values)} zoos",
        )
