"""What the studies of token models share: decompose all seeds at once, score beside rivals, claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from digsite.decompose.config import TokenStudy
from digsite.decompose.core.compare import compare
from digsite.decompose.core.decomposition import MASKINGS, Decomposition
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.experiments import showing
from digsite.decompose.judge import equal_l0, memory, token_scores
from digsite.decompose.judge import verdict as report
from digsite.decompose.judge.score import Row
from digsite.decompose.judge.views import View
from digsite.decompose.subjects.tasks import Task
from digsite.figures import bars

if TYPE_CHECKING:
    from digsite.worker.run import Run

NOTES = {
    "rounded": "components with importance above the threshold, and nothing else",
    "ci": "every component times its importance",
    "stochastic": "random masks between importance and one, residual included",
    "random": "uniformly random masks",
    "unmasked": "all components, without the residual",
    **{name: f"{text}; as many as the decomposition keeps there" for name, text in equal_l0.RIVALS.items()},
}


def decompose(config: TokenStudy, task: Task, run: Run) -> list[Decomposition]:
    seeds = [run.derive("member", config.seed + k) % 2**31 for k in range(config.seeds)]
    fit = Fit(problem_of(config, task), config.decompose, seeds, device=run.device)
    for step in run.steps(config.decompose.steps, save=fit.state, load=fit.load):
        terms = fit.step(step)
        if step % config.log_every == 0:
            run.log(step, **{f"loss/{name}": float(values.mean()) for name, values in terms.items()})
    return [fit.decomposition(k) for k in range(len(seeds))]


def problem_of(config: TokenStudy, task: Task) -> Problem:
    return Problem([task.model], config.modules, task.sample, output=task.output)


def tell(config: TokenStudy, task: Task, run: Run, members: list[Decomposition]) -> list[Row]:
    """Scores as claims and tables, the files, chosen metrics and figures; returns the rows that the claims are of."""
    batches = held_out(config, task, run)
    scored = run.once(
        "scores", lambda: [token_scores.score(found, task, batches, config.threshold) for found in members]
    )
    # With one seed the interval is over held-out batches, and says so.
    rows = [token_scores.mean(each) for each in scored] if len(scored) > 1 else scored[0]
    claim(run, rows, "" if len(scored) > 1 else "; interval over held-out batches")
    stability(run, members)
    run.table("scores", {key: [row[key] for row in rows] for key in rows[0]})
    rival_figure(run, rows)
    memory_table(config, task, run)
    showing.keep(run, members)
    view = View(members[0], lambda i: batches[i], len(batches), labels=task.labels, words=task.words)
    showing.views(run, view)
    showing.measure(run, view, config.metrics)
    showing.draw(run, view, config.figures)
    return rows


def held_out(config: TokenStudy, task: Task, run: Run) -> list[Tensor]:
    return [task.held_out(run.generator("eval", i)).to(run.device) for i in range(config.eval_batches)]


def claim(run: Run, rows: Sequence[Row], over: str) -> None:
    """The headline numbers; each masking of the decomposition stands beside singular parts of the same number."""
    for key in sorted(filter(is_headline, rows[0]), key=place):
        family, _, name = key.rpartition("/")
        found = report.summarize(rows, key)
        note = NOTES.get(name, report.note(key)) + (over if len(rows) > 1 else "")
        run.claim(
            key,
            _number(found.value),
            low=_number(found.low),
            high=_number(found.high),
            n=found.n,
            null=_null(rows, family, name),
            note=note.removeprefix("; "),
        )


def place(key: str) -> int:
    """The number of components and what they recover come first; Python's sort leaves the rest in its order."""
    families = ("ci_l0", "kl_recovered/", "ce_recovered/", "accuracy/")
    return next((i for i, family in enumerate(families) if key.startswith(family)), len(families))


def memory_table(config: TokenStudy, task: Task, run: Run) -> None:
    """At the chosen number of components and below, never above: more might not fit."""
    n = config.decompose.C
    if isinstance(n, int):
        counts = sorted({max(1, n // 4), max(1, n // 2), n})
        run.table(
            "memory", memory.by_components(problem_of(config, task), config.decompose, counts, run.device)
        )


def is_headline(key: str) -> bool:
    """The rest is in the table of scores."""
    family, _, name = key.rpartition("/")
    if family in ("ce", "kl"):
        return False
    if family == "accuracy":
        return name in ("target", "rounded", "svd")
    return name not in ("random", "unmasked")


def _null(rows: Sequence[Row], family: str, name: str) -> float | None:
    beside = f"{family}/svd"
    if name not in (*MASKINGS, *equal_l0.RIVALS) or name in ("svd", "zero") or beside not in rows[0]:
        return None
    return _number(report.summarize(rows, beside).value)


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def stability(run: Run, members: list[Decomposition]) -> None:
    """Do two seeds find the same components? Beside random directions."""
    if len(members) > 1:
        note = "mean cosine of components matched across the first two seeds"
        for module, match in compare(members[0], members[1]).items():
            run.claim(f"{module}/stability", match.stability, null=match.chance, note=note)


def rival_figure(run: Run, rows: Sequence[Row]) -> None:
    names = ["ci", "rounded", *equal_l0.RIVALS]
    found = {name.replace("_", " "): report.summarize(rows, f"kl_recovered/{name}") for name in names}
    figure = bars(
        {name: each.value for name, each in found.items()},
        y="share of the KL recovered",
        lows={name: each.value if each.low is None else each.low for name, each in found.items()},
        highs={name: each.value if each.high is None else each.high for name, each in found.items()},
        gray=list(found)[2:],
    )
    columns = {
        "kind": list(found),
        "value": [each.value for each in found.values()],
        "low": [each.low for each in found.values()],
        "high": [each.high for each in found.values()],
    }
    caption = "1 is the target itself, 0 all components off; all but 'ci' keep the same number of parts; gray: rivals."
    run.figure("equal_l0", figure, columns, caption=caption)


def verdict(rows: Sequence[Row], members: list[Decomposition]) -> str:
    """How many components answer how well, and whether singular parts of the same number do better."""

    def value(key: str) -> float:
        return report.summarize(rows, key).value

    total = sum(len(members[0].components(module).U) for module in members[0].modules)
    kept, svd = value("kl_recovered/rounded"), value("kl_recovered/svd")
    return (
        f"With {value('ci_l0'):.1f} of {total} components at a position, {kept:.1%} of the divergence that switching "
        f"them all off causes is recovered; with as many singular parts {svd:.1%}."
    )
