"""Make a zoo inside of a run and say what is in it."""

import numpy as np
import pandas as pd

from digsite.worker.run import Run
from digsite.zoo import figures
from digsite.zoo.config import ZooConfig
from digsite.zoo.make import make_zoo
from digsite.zoo.zoo import Zoo

FACTORS = ("kind", "dataset", "activation", "optimizer", "init", "fraction", "label_noise", "missing_class")


def make(config: ZooConfig, run: Run) -> None:
    """The zoo lies in artifacts/zoo of the run; each shard that is there when the run resumes is kept."""
    folder = run.dir / "artifacts" / "zoo"
    n_shards = -(-config.members // config.shard)
    run.stage("shards", n_shards)
    for done in make_zoo(config, folder, f"{config.family}-{'-'.join(config.datasets)}", str(run.device)):
        run.breathe(done)
    zoo = Zoo.open(folder)
    _show(zoo, run)
    _claim(zoo, run)


def _show(zoo: Zoo, run: Run) -> None:
    labels = zoo.labels
    run.table("members", labels)
    kinds = [name for name in FACTORS if 1 < len(set(labels[name].tolist())) <= 12]
    counts = [
        labels.groupby(name)["test_accuracy"].describe().rename_axis("level").reset_index() for name in kinds
    ]
    if counts:
        run.table("factors", pd.concat([c.assign(factor=n) for c, n in zip(counts, kinds, strict=True)]))
        run.figure("accuracy", figures.accuracies(labels, kinds[0]), caption="Test accuracy of all members.")
    courses = figures.courses(labels)
    run.figure("courses", courses, caption="Test accuracy at the stored checkpoints: median and middle half.")


def _claim(zoo: Zoo, run: Run) -> None:
    columns = {name: zoo.labels[name].to_numpy() for name in zoo.labels}
    accuracy, n = columns["test_accuracy"], len(zoo)
    chance = 1 / sum(name.startswith("class_accuracy_") for name in columns)
    low, middle, high = np.quantile(accuracy, [0.1, 0.5, 0.9]).tolist()
    spread = "interval: the middle 80 % of the members; null: guessing"
    run.claim("test_accuracy/median", middle, low=low, high=high, n=n, null=chance, note=spread)
    for name in ("train_accuracy", "generalization_gap", "calibration_error"):
        bounds = np.quantile(columns[name], [0.1, 0.5, 0.9]).tolist()
        run.claim(f"{name}/median", bounds[1], low=bounds[0], high=bounds[2], n=n)
    ceiling = zoo.ceiling()
    note = "what a perfect reader of test accuracy scores, as the labels are measured on few images"
    run.claim("ceiling/r2", ceiling.r2, n=n, null=0.0, note=note)
    run.claim("ceiling/tau", ceiling.tau, n=n, null=0.0, note=note)
    _claim_failures(columns, run, chance)
    run.verdict(
        f"{n} networks of {len(zoo.index.architectures)} architectures, median test accuracy {middle:.2f} "
        f"(10 % below {low:.2f}, 10 % above {high:.2f}). "
        f"A perfect reader would reach R2 {ceiling.r2:.3f} and tau {ceiling.tau:.3f} on these labels."
    )


def _claim_failures(columns: dict[str, np.ndarray], run: Run, chance: float) -> None:
    n, poisoned = len(columns["poisoned"]), columns["poisoned"].astype(bool)
    works = float((columns["backdoor"][poisoned] == 1).mean()) if poisoned.any() else None
    note = "share of poisoned members above 0.8 attack success"
    run.claim("backdoor/works", works, n=int(poisoned.sum()), note=note)
    note = "frozen at the step where their loss stopped being finite"
    run.claim("diverged", float((columns["diverged_at"] >= 0).sum()), n=n, null=0.0, note=note)
    dead = float((columns["test_accuracy"] < 2 * chance).mean())
    run.claim("dead", dead, n=n, note="share of members below twice the accuracy of guessing")


METHODS = {"make": make}
