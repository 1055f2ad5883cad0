"""Make a zoo inside of a run and say what is in it."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from digsite.base.families import FoundStudies
from digsite.base.intervals import seed_interval
from digsite.figures import curves, histogram
from digsite.record.verdict import cite
from digsite.worker.run import Run
from digsite.zoo.config import ZooConfig
from digsite.zoo.make import make_zoo
from digsite.zoo.zoo import Zoo

FACTORS = ("kind", "dataset", "activation", "optimizer", "init", "fraction", "label_noise", "missing_class")


def study_make(config: ZooConfig, run: Run) -> None:
    """The zoo lies in artifacts/zoo of the run; each shard that is there when the run resumes is kept."""
    folder = run.dir / "artifacts" / "zoo"
    n_shards = -(-config.members // config.shard)
    run.stage("shards", n_shards)
    for done in make_zoo(config, folder, f"{config.family}-{'-'.join(config.datasets)}", str(run.device)):
        run.let_signals_in(done)
    zoo = Zoo.open(folder)
    _show_members(zoo, run)
    _claim_accuracies(zoo, run)


def _show_members(zoo: Zoo, run: Run) -> None:
    labels = zoo.labels
    run.table("members", labels)
    kinds = [name for name in FACTORS if 1 < len(set(labels[name].tolist())) <= 12]
    counts = [
        labels.groupby(name)["test_accuracy"].describe().rename_axis("level").reset_index() for name in kinds
    ]
    if counts:
        run.table("factors", pd.concat([c.assign(factor=n) for c, n in zip(counts, kinds, strict=True)]))
        run.figure("accuracy", draw_accuracies(labels, kinds[0]), caption="Test accuracy of all members.")
    run.figure(
        "courses",
        draw_courses(labels),
        caption="Test accuracy at the stored checkpoints: median and middle half.",
    )


def _claim_accuracies(zoo: Zoo, run: Run) -> None:
    columns = {name: zoo.labels[name].to_numpy() for name in zoo.labels}
    accuracy, n = columns["test_accuracy"], len(zoo)
    chance = 1 / sum(name.startswith("class_accuracy_") for name in columns)
    low, middle, high = np.quantile(accuracy, [0.1, 0.5, 0.9]).tolist()
    run.claim("members", n, kind="count", title="Networks of the zoo")
    run.claim("architectures", len(zoo.index.architectures), kind="count", title="Architectures among them")
    over = seed_interval(accuracy.tolist(), "median")
    run.claim(
        "test_accuracy/median",
        middle,
        low=over.low,
        high=over.high,
        n=n,
        null=chance,
        kind="median",
        better="higher",
        null_is="guessing",
        title="Test accuracy of the median network",
    )
    run.claim("test_accuracy/tenth", low, title="Test accuracy below which a tenth of the networks are")
    run.claim("test_accuracy/ninth", high, title="Test accuracy above which a tenth of the networks are")
    for name in ("train_accuracy", "generalization_gap", "calibration_error"):
        over = seed_interval(columns[name].tolist(), "median")
        run.claim(
            f"{name}/median",
            over.value,
            interval=over,
            kind="median",
            title=f"{name.replace('_', ' ')}, median",
        )
    ceiling = zoo.ceiling()
    note = "the labels are measured on few images"
    run.claim("ceiling/r2", ceiling.r2, n=n, title="R2 of a perfect reader of test accuracy", note=note)
    run.claim(
        "ceiling/tau", ceiling.tau, n=n, title="Kendall's tau of a perfect reader of test accuracy", note=note
    )
    _claim_failures(columns, run, chance)
    run.headline(["test_accuracy/median", "dead", "diverged"], hero="courses")
    run.verdict(
        f"{cite('members')} networks of {cite('architectures')} architectures, median test accuracy "
        f"{cite('test_accuracy/median', style='.2f')} where guessing gives {cite('test_accuracy/median', 'null', '.2f')} (a "
        f"tenth below {cite('test_accuracy/tenth', style='.2f')}, a tenth above {cite('test_accuracy/ninth', style='.2f')}). "
        f"A perfect reader would reach R2 {cite('ceiling/r2', style='.3f')} and tau {cite('ceiling/tau', style='.3f')} on "
        "these labels."
    )


def _claim_failures(columns: dict[str, np.ndarray], run: Run, chance: float) -> None:
    """Shares of networks with something wrong, counted: each has the exact interval of its hits."""
    n, poisoned = len(columns["poisoned"]), columns["poisoned"].astype(bool)
    if poisoned.any():
        works = columns["backdoor"][poisoned] == 1
        _claim_share(
            run, "backdoor/works", works, "Poisoned networks whose backdoor works (success above 0.8)"
        )
    _claim_share(run, "diverged", columns["diverged_at"] >= 0, "Networks whose loss stopped being finite")
    _claim_share(
        run, "dead", columns["test_accuracy"] < 2 * chance, "Networks below twice the accuracy of guessing"
    )
    assert n == len(columns["diverged_at"])


def _claim_share(run: Run, name: str, hit: np.ndarray, title: str) -> None:
    run.claim_share(name, int(hit.sum()), len(hit), title=title)


METHODS = FoundStudies("digsite.zoo")


# What a zoo holds, as pictures.


def draw_accuracies(labels: pd.DataFrame, by: str) -> Figure:
    """Test accuracies of the members, told apart by one factor."""
    groups = {str(name): rows["test_accuracy"].to_numpy() for name, rows in labels.groupby(by)}
    return histogram(groups, x="test accuracy", y="networks", title=f"by {by}")


def draw_courses(labels: pd.DataFrame) -> Figure:
    """Test accuracy over the stored checkpoints: median, with the middle half of the networks as a band."""
    columns = [name for name in labels if name.startswith("test_accuracy@")]
    steps = [1 + int(name.partition("@")[2]) for name in columns]
    low, middle, high = np.quantile(labels[columns].to_numpy(), [0.25, 0.5, 0.75], axis=0)
    lines = {"median": (steps, middle)}
    return curves(lines, x="training step + 1", y="test accuracy", bands={"median": (low, high)}, log_x=True)
