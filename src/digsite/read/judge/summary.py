"""`results.md`: every table, and sentences that are computed from the numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from digsite.read.core.metrics import Score
from digsite.read.judge.comparison import TRIVIAL, Outcome


def verdict(outcome: Outcome, extra: Mapping[str, Any]) -> str:
    """Which reader leads, by how much over statistics and hyper-parameters, and what that is worth."""
    readers = [m for m in outcome.scores if m not in TRIVIAL]
    if "test_accuracy" not in outcome.truth:
        return f"{len(readers)} readers answered {len(outcome.tasks)} questions about {extra['n_test']} networks."
    best = leading(outcome)
    tau = outcome.scores[best]["test_accuracy"]["tau"]
    hyper = outcome.scores["hyperparameters"]["test_accuracy"]["tau"].value
    against = "above" if tau.value > hyper else "below"
    how = "running them on synthetic inputs" if extra["runs"].get(best) else "from the weights only"
    text = (
        f"{best} ranks {extra['n_test']} unseen networks by test accuracy with tau {tau.value:.2f} "
        f"({tau.low:.2f} to {tau.high:.2f}), {how}: as well as measuring on "
        f"{extra['worth'][best]:.0f} labeled images, and {against} what the hyper-parameters alone tell ({hyper:.2f}). "
    )
    return text + _edge(outcome, best)


def leading(outcome: Outcome) -> str:
    """The reader with the best tau on test accuracy; the last one where accuracy was not asked for."""
    readers = [m for m in outcome.scores if m not in TRIVIAL]
    ranked = [m for m in readers if "test_accuracy" in outcome.scores[m]]
    return max(ranked, key=lambda m: outcome.scores[m]["test_accuracy"]["tau"].value, default=readers[-1])


def _edge(outcome: Outcome, best: str) -> str:
    found = outcome.differences.get(best, {}).get("test_accuracy")
    if found is None:
        return "No other reader was trained to compare it with."
    if found.low > 0:
        return f"Its lead over plain statistics is {found.value:.2f} ({found.low:.2f} to {found.high:.2f})."
    interval = f"{found.low:.2f} to {found.high:.2f}"
    return f"Its difference to plain statistics, {found.value:.2f}, is within noise ({interval})."


def write(outcome: Outcome, extra: Mapping[str, Any], seeds: int) -> str:
    """The whole document; where several zoos were made, its tables are of the first."""
    parts = [
        "# Reading networks\n",
        verdict(outcome, extra) + "\n",
        f"{extra['n_train']} networks to learn from (calibration included), {extra['n_test']} to test on"
        + (f"; the first of {seeds} zoos.\n" if seeds > 1 else ".\n"),
    ]
    for kind, metrics in (
        ("regression", ("r2", "tau", "mse", "mae")),
        ("classification", ("accuracy", "precision", "recall", "f1", "auroc")),
    ):
        for task in (t for t in outcome.tasks if t.kind == kind):
            parts.append(f"## {task.name}: {task.purpose}\n")
            parts.append(_score_table(outcome, task.name, metrics))
    parts += ["## How far to trust it\n", *_trust(outcome, extra)]
    return "\n".join(parts)


def _score_table(outcome: Outcome, task: str, metrics: Sequence[str]) -> str:
    rows = []
    for method, by_task in outcome.scores.items():
        found = by_task.get(task, {})
        shown = [m for m in metrics if m in found]
        if shown:
            alive = outcome.survivors.get(method, {}).get(task, {})
            first = shown[1] if "tau" in shown else shown[0]
            rows.append(
                [method, *(_interval(found[m]) for m in shown), f"{alive.get(first, float('nan')):.3f}"]
            )
    names = [m for m in metrics if any(m in b.get(task, {}) for b in outcome.scores.values())]
    return _table(["method", *names, f"{'tau' if 'tau' in names else names[0]}, survivors"], rows)


def _trust(outcome: Outcome, extra: Mapping[str, Any]) -> list[str]:
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
    parts.append(_table(["method", "task", "coverage", "width"], rows))
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
        parts.append(_table(["split by", *list(forms)[1:]], rows))
    return parts


def _interval(s: Score) -> str:
    return f"{s.value:.3f} ({s.low:.3f} to {s.high:.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
