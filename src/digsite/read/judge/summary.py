"""`results.md`: every table, and sentences that are computed from the numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from digsite.read.core.metrics import Score
from digsite.read.core.tasks import ReadTask
from digsite.read.judge.comparison import TRIVIAL, ReaderOutcome
from digsite.record.verdict import cite


def write_verdict(outcome: ReaderOutcome, extra: Mapping[str, Any], asks: str = "test_accuracy") -> str:
    """What was asked, answered by the reader that was best on calibration networks, beside its strongest rival.

    `extra` is what `nwa` gathers beside the scores; numbers are cited from claims, never written here.
    """
    task = asked_task(outcome, asks)
    best, metric = find_leading(outcome, extra, task.name), headline_metric(task)
    key = f"{best}/{task.name}/{metric}"
    how = "running them on synthetic inputs" if extra["runs"].get(best) else "from the weights alone"
    rivals = rival_scores(outcome, best, task.name, metric)
    strongest = max(rivals, key=lambda name: rivals[name])
    # Several zoos are too few repeats for an interval.
    between = f" ({cite(key, 'interval', '.2f')})" if extra.get("zoos", 1) == 1 else ""
    first = (
        f"'{best}' {VERBS[metric].format(task=task.purpose or task.name)} for {cite(key, 'n')} unseen networks with "
        f"{NAMES[metric]} {cite(key, style='.2f')}{between}, {how}; the strongest rival, "
        f"'{strongest}', reaches {cite(key, 'null', '.2f')}."
    )
    trust = f"{best}/{task.name}/coverage"
    second = (
        f" Its intervals hold the truth in {cite(trust)} of cases." if extra.get("intervals", True) else ""
    )
    if task.name == "test_accuracy" and best in extra["worth"]:
        worth = cite(f"{best}/worth_labeled_images", style=".0f")
        return f"{first} That is as much as measuring on {worth} labeled images tells.{second}"
    return first + second


VERBS = {"tau": "ranks {task}", "r2": "reads {task}", "accuracy": "names {task}", "auroc": "tells {task}"}
NAMES = {"tau": "tau", "r2": "R2", "accuracy": "accuracy", "auroc": "AUROC"}


def asked_task(outcome: ReaderOutcome, asks: str) -> ReadTask:
    """The task that the study asks about; the first one where it was not read."""
    return next((task for task in outcome.tasks if task.name == asks), outcome.tasks[0])


def headline_metric(task: ReadTask) -> str:
    """The score that a verdict names: tau of numbers, AUROC of two classes, accuracy of more."""
    if task.is_regression:
        return "tau"
    return "auroc" if len(task.classes) == 2 else "accuracy"


def rival_scores(outcome: ReaderOutcome, reader: str, task: str, metric: str) -> dict[str, float]:
    """What every other method reaches: readers, trees on hyper-parameters, a constant."""
    others = {m: outcome.scores[m].get(task, {}).get(metric) for m in outcome.scores if m != reader}
    return {m: s.value for m, s in others.items() if s is not None and np.isfinite(s.value)}


def find_leading(outcome: ReaderOutcome, extra: Mapping[str, Any], task: str) -> str:
    """The reader of a task that was best on the networks that calibrate intervals; no test network chooses it.

    There a regression's 90 % margin is least, and a classification gives the truth at least that probability.
    """
    readers = [m for m in outcome.scores if m not in TRIVIAL and task in outcome.scores[m]]
    if extra.get("reader") in readers:
        return str(extra["reader"])
    margins = {m: extra["found"][m]["margins"].get(task) for m in readers if m in extra["found"]}
    known = {m: margin for m, margin in margins.items() if margin is not None}
    if not known:
        return readers[-1]
    least = next(t for t in outcome.tasks if t.name == task).is_regression
    return (min if least else max)(known, key=lambda m: known[m])


def write_summary(
    outcome: ReaderOutcome,
    extra: Mapping[str, Any],
    seeds: int,
    answer: str,
    drawn: Mapping[str, str] | None = None,
) -> str:
    """The whole document, led by the run's `answer`; where several zoos were made, its tables are of the first.

    `drawn`: figures by name with their captions, seen from the folder of artifacts; each stands below its task, the
    others at the end.
    """
    left = dict(drawn or {})
    parts = [
        "# Reading networks\n",
        answer + "\n",
        f"{extra['n_train']} networks to learn from (calibration included), {extra['n_test']} to test on"
        + (f"; the first of {seeds} zoos.\n" if seeds > 1 else ".\n"),
    ]
    for regression, metrics in (
        (True, ("r2", "tau", "mse", "mae")),
        (False, ("accuracy", "precision", "recall", "f1", "auroc")),
    ):
        for task in (t for t in outcome.tasks if t.is_regression is regression):
            parts.append(f"## {task.name}: {task.purpose}\n")
            parts.append(_score_table(outcome, task.name, metrics))
            if (name := f"task-{task.name}") in left:
                parts.append(_show_picture(name, left.pop(name)))
    parts += ["## How far to trust it\n", *_write_trust(outcome, extra)]
    if left:
        parts += ["\n## Pictures\n", *(_show_picture(name, caption) for name, caption in left.items())]
    return "\n".join(parts)


def _show_picture(name: str, caption: str) -> str:
    return f"\n![{caption}](../figures/{name}.png)\n\n*{caption}*\n"


def _score_table(outcome: ReaderOutcome, task: str, metrics: Sequence[str]) -> str:
    rows = []
    for method, by_task in outcome.scores.items():
        scores = by_task.get(task, {})
        shown = [m for m in metrics if m in scores]
        if shown:
            alive = outcome.survivors.get(method, {}).get(task, {})
            first = shown[1] if "tau" in shown else shown[0]
            rows.append(
                [method, *(_show_interval(scores[m]) for m in shown), f"{alive.get(first, float('nan')):.3f}"]
            )
    names = [m for m in metrics if any(m in b.get(task, {}) for b in outcome.scores.values())]
    return _show_table(["method", *names, f"{'tau' if 'tau' in names else names[0]}, survivors"], rows)


def _write_trust(outcome: ReaderOutcome, extra: Mapping[str, Any]) -> list[str]:
    ceiling, leaks = extra["ceiling"], extra["leaks"]
    parts = [
        f"- A perfect reader would score R2 {ceiling['r2']:.3f} and tau {ceiling['tau']:.3f}: "
        "accuracy was itself measured on finitely many images.",
        *(
            f"- A reader that knows all but whether SGD ran with momentum 0.9 and a tenth of the rate scores {name} "
            f"{value:.3f}."
            for name, value in extra["momentum_ceiling"].items()
        ),
        "- Leak check: "
        + (
            "; ".join(
                f"`{k['task']}` can be read off `{k['column']}` alone ({k['strength']:.3f})" for k in leaks
            )
            if leaks
            else "no target follows from a single input column"
        )
        + ".",
        f"- Tau of accuracy measured on k labeled images ({extra['few_labels_how']}): "
        + ", ".join(f"{k}: {tau:.2f}" for k, tau in extra["few_labels"].items())
        + ".",
    ]
    for kind, shift in extra["shift"].items():
        parts.append(
            f"- {kind}: {extra['flagged'][kind]:.1%} of the test networks are flagged as strangers, and "
            f"{shift['flagged']:.1%} of the same networks with their input pixels shuffled"
            + (
                f", whose accuracy 90 % intervals then cover {shift['coverage']:.1%}"
                if "coverage" in shift
                else ""
            )
            + "."
        )
    parts.append("\n### Coverage of 90 % intervals and sets\n")
    rows = [[r["method"], r["task"], f"{r['coverage']:.3f}", f"{r['width']:.3g}"] for r in extra["coverage"]]
    parts.append(_show_table(["method", "task", "coverage", "width"], rows))
    if extra["splits"]:
        parts.append("### Test accuracy where a whole group is new\n")
        forms = {
            "split": "{}",
            "method": "{}",
            "r2": "{:.3f}",
            "tau": "{:.3f}",
            "coverage": "{:.2f}",
            "n": "{}",
        }
        rows = [[form.format(r[key]) for key, form in forms.items()] for r in extra["splits"]]
        parts.append(_show_table(["split by", *list(forms)[1:]], rows))
    return parts


def _show_interval(s: Score) -> str:
    return f"{s.value:.3f} ({s.low:.3f} to {s.high:.3f})"


def _show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
