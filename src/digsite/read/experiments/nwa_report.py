"""What a run of `nwa` leaves behind for its reader: views, one row per network, claims."""

from typing import Any

import numpy as np
import pandas as pd

from digsite.read.core.membership import OUTSIDE
from digsite.read.core.metrics import Score, main_metrics
from digsite.read.judge.comparison import Outcome
from digsite.read.judge.summary import leading
from digsite.worker.run import Run

Results = list[tuple[Outcome, dict[str, Any]]]
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


def views(outcome: Outcome, extra: dict[str, Any], run: Run) -> None:
    """Tables to sort, every network's prediction with its interval, and the map of what a reader tells apart."""
    for name in ("scores", "coverage", "differences"):
        run.view(name, kind="table", source=f"tables/{name}.csv")
    task = next((t.name for t in outcome.tasks if t.kind == "regression"), None)
    if task is None:
        return
    tables = {kind: _networks(kind, task, outcome, extra) for kind in extra["found"]}
    best = leading(outcome)
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
        group="activation",
        x_label=f"first component of what {best} represents",
        y_label="second component",
    )


def _networks(kind: str, task: str, outcome: Outcome, extra: dict[str, Any]) -> pd.DataFrame:
    """One row per test network: what this reader says of it, how sure, where it lies, and how it was made."""
    found, labels = extra["found"][kind], extra["labels"]
    value, margin = np.asarray(outcome.answers[kind][task], dtype=float), found["margins"][task]
    where = np.asarray(found["vectors"])[:, :2]
    table = pd.DataFrame(
        {
            "reader": kind,
            "network": [f"zoo:{extra['folder']}#{m}" for m in labels["member"]],
            "truth": outcome.truth[task],
            "predicted": value,
            "low": value - margin,
            "high": value + margin,
            "in_zoo": np.asarray(found["p_values"]) >= OUTSIDE,
            "map_x": where[:, 0],
            "map_y": where[:, -1],
        }
    )
    return table.join(labels[[c for c in _SHOWN if c in labels]])


def differences(outcome: Outcome) -> pd.DataFrame:
    rows = [
        {"method": m, "task": t, "difference": s.value, "low": s.low, "high": s.high, "n": s.n}
        for m, by_task in outcome.differences.items()
        for t, s in by_task.items()
    ]
    return pd.DataFrame(rows, columns=["method", "task", "difference", "low", "high", "n"])


def claims(results: Results, run: Run) -> None:
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
            run.claim(
                f"{kind}/flagged_when_pixels_shuffled",
                float(np.mean(shifted)),
                null=float(np.mean(flagged)),
                n=len(shifted),
                note="null: share of the zoo's own test networks that is flagged",
            )
    for name in extra["momentum_ceiling"]:
        values = [e["momentum_ceiling"][name] for _, e in results]
        run.claim(
            f"ceiling/{name}",
            float(np.mean(values)),
            low=min(values),
            high=max(values),
            n=len(values),
            note="knows all but whether SGD ran with momentum 0.9 and a tenth of the rate",
        )
    for name, value in extra["worth"].items():
        run.claim(f"{name}/worth_labeled_images", value, note=extra["few_labels_how"])


def _claim(run: Run, name: str, scores: list[Score], null: float | None) -> None:
    values = [s.value for s in scores]
    if len(scores) == 1:
        s = scores[0]
        run.claim(
            name, s.value, low=s.low, high=s.high, n=s.n, null=null, note="95 % bootstrap over test networks"
        )
    else:
        run.claim(
            name,
            float(np.mean(values)),
            low=min(values),
            high=max(values),
            n=len(values),
            null=null,
            note="mean and range over zoo seeds",
        )
