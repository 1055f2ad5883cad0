"""Scanners of output layers on the same networks: ours, row norms, and `modelaudit` where it is installed, with error rates.

Thirty classes, clean and poisoned networks of three recipes that calibrated nothing (`planted-backdoors`) and of recipes drawn by rule
(`planted-drawn`). modelaudit 0.2 reads a matrix as (inputs, outputs), which is PyTorch's transposed; it is asked both ways: as it takes
a file, and turned so that its outputs are the classes. It gives alarms and no score, so that it has two shares and no area.
`pip install modelaudit` puts it beside us. Published, on networks that are not at hand here: DFBScanner, 97.2 % found at .95 % false alarms.
"""

import argparse
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from digsite.base.intervals import exact_share
from digsite.read.core.metrics import measure_auroc
from digsite.read.experiments.planted import score_rivals
from digsite.read.judge.head_scan import scan_head
from digsite.read.subjects.planted import PLANS, draw_plan, join_sets, make_planted_zoo, members_of

torch.set_num_threads(1)
RECIPES = ("tanh-adamw", "relu-rmsprop", "gelu-momentum")
SEED, DRAWN = 31, 20261130


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="24 networks of eleven recipes, not 12 of three")
    full = parser.parse_args().full
    plans = {name: PLANS[name] for name in RECIPES}
    plans |= {f"drawn-{i}": draw_plan(DRAWN, i) for i in range(8 if full else 0)}
    rows = [row for name, plan in plans.items() for row in scan_recipe(name, plan, 24 if full else 12)]
    bad = np.array([row["target"] >= 0 for row in rows])
    print(
        f"{bad.sum()} planted networks whose trigger works, {(~bad).sum()} clean, of {len(plans)} recipes, 30 classes; modelaudit "
        f"{find_version()}, torch {torch.__version__}, 1 thread"
    )
    print(
        "\n| scanner | AUROC | planted: alarm | clean: alarm | target first |\n| --- | --- | --- | --- | --- |"
    )
    for name in [key for key in rows[0] if key.endswith("/alarm") or key.endswith("/score")]:
        scanner, kind = name.split("/")
        if kind == "alarm" and f"{scanner}/score" in rows[0]:
            continue
        print(
            f"| {scanner} | {say_area(rows, scanner, bad)} | {say_share(rows, scanner, bad)} | {say_share(rows, scanner, ~bad)} | "
            f"{say_first(rows, scanner, bad)} |"
        )


def scan_recipe(name: str, plan, networks: int) -> list[dict]:
    """What every scanner says of each network of a recipe; triggers that do not work are left out."""
    images = join_sets(["mnist", "fashion_mnist", "usps"], 10, 2000, SEED)
    zoo = make_planted_zoo(name, plan.model, images, members_of(plan, networks), SEED)
    matrices = [key for key in zoo.tensors if zoo.tensors[key].ndim > 2]
    rows = []
    for i in range(len(zoo.target)):
        if zoo.target[i] >= 0 and zoo.success[i] < 0.5:
            continue
        head = zoo.tensors[matrices[-1]][i]
        ours = scan_head(head, zoo.tensors[matrices[-2]][i])
        norms = score_rivals(head)["row norm"]
        row = {"target": int(zoo.target[i])}
        row |= {
            "digsite/score": ours.scores.max(),
            "digsite/alarm": ours.alarm,
            "digsite/first": ours.suspect,
        }
        row |= {
            "row norms/score": norms.max(),
            "row norms/alarm": norms.max() > 3.5,
            "row norms/first": int(norms.argmax()),
        }
        for layout, matrix in (("as a file", head), ("turned", head.T)):
            row |= ask_modelaudit(f"modelaudit, {layout}", matrix.numpy())
        rows.append(row)
    return rows


def ask_modelaudit(name: str, matrix: np.ndarray) -> dict:
    """Its alarm on one output layer, and the outputs that it names; nothing where it is not installed."""
    if not find_version():
        return {}
    scanner = import_module("modelaudit.scanners.weight_distribution_scanner").WeightDistributionScanner()
    anomalies = scanner._analyze_weight_distributions({"classifier.weight": np.ascontiguousarray(matrix)})
    named = [j for a in anomalies for j in a["details"].get("outlier_neurons", [])]
    return {f"{name}/alarm": bool(anomalies), f"{name}/first": named[0] if named else -1}


def find_version() -> str:
    try:
        return version("modelaudit")
    except PackageNotFoundError:
        return ""


def say_area(rows: list[dict], scanner: str, bad: np.ndarray) -> str:
    if f"{scanner}/score" not in rows[0]:
        return "no score"
    return f"{measure_auroc(bad, np.array([row[f'{scanner}/score'] for row in rows])):.2f}"


def say_share(rows: list[dict], scanner: str, chosen: np.ndarray) -> str:
    hits = [bool(row[f"{scanner}/alarm"]) for row, is_chosen in zip(rows, chosen) if is_chosen]
    low, high = exact_share(sum(hits), len(hits))
    return f"{100 * np.mean(hits):.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def say_first(rows: list[dict], scanner: str, bad: np.ndarray) -> str:
    hits = [row[f"{scanner}/first"] == row["target"] for row, is_bad in zip(rows, bad) if is_bad]
    return f"{100 * np.mean(hits):.0f} %"


if __name__ == "__main__":
    main()
