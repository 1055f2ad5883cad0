"""Language models decomposed, and what all studies of token models share: score beside rivals of equal number, claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from digsite.base.intervals import FEWEST
from digsite.decompose.config import LmConfig, TokenStudy
from digsite.decompose.core.components import compare
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.experiments import showing
from digsite.decompose.judge import answers, baselines
from digsite.decompose.judge import verdict as report
from digsite.decompose.judge.metrics import View
from digsite.decompose.judge.score import Row
from digsite.decompose.subjects import tasks
from digsite.decompose.subjects.tasks import Task
from digsite.figures import bars
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

TITLES = {
    "kl_recovered": "Divergence from the target recovered by the needed parts",
    "ce_recovered": "Cross-entropy recovered by the needed parts",
    "accuracy": "Right answers with the needed parts alone",
}
NOTES = {
    "rounded": "components with importance above the threshold, and nothing else",
    "ci": "every component times its importance",
    "stochastic": "random masks between importance and one, residual included",
    "random": "uniformly random masks",
    "unmasked": "all components, without the residual",
}


def decompose_task(config: TokenStudy, task: Task, run: Run) -> list[Decomposition]:
    """One member per seed, trained together, resumable."""
    seeds = [run.derive("member", config.seed + k) % 2**31 for k in range(config.seeds)]
    fit = Fit(make_problem(config, task), config.decompose, seeds, device=run.device)
    for step in run.steps(config.decompose.steps, save=fit.read_state, load=fit.load_state):
        terms = fit.step(step)
        if step % config.log_every == 0:
            run.log(step, **{f"loss/{name}": float(values.mean()) for name, values in terms.items()})
    return [fit.make_decomposition(k) for k in range(len(seeds))]


def make_problem(config: TokenStudy, task: Task) -> Problem:
    """One target for all members."""
    return Problem([task.model], config.modules, task.sample, output=task.output)


def conclude_tokens(config: TokenStudy, task: Task, run: Run, members: list[Decomposition]) -> list[Row]:
    """Scores as claims and tables, the files, chosen metrics and figures; returns the rows that the claims are of."""
    batches = draw_held_out(config, task, run)
    scored = run.once(
        "scores",
        lambda: [answers.score_tokens(member, task, batches, config.threshold) for member in members],
    )
    rows, over = pool_rows(scored)
    run.claim(
        "components/total",
        sum(len(members[0].components(module).U) for module in members[0].modules),
        kind="count",
        title="Parts made, all modules",
    )
    claim_tokens(run, rows, over)
    run.headline(["kl_recovered/rounded", "accuracy/rounded", "ce_recovered/rounded"], hero="equal_l0")
    claim_stability(run, members)
    run.table("scores", {key: [row[key] for row in rows] for key in rows[0]})
    draw_rivals(run, rows)
    keep_memory_table(config, task, run)
    showing.keep_members(run, members)
    view = View(members[0], lambda i: batches[i], len(batches), labels=task.labels, words=task.words)
    showing.keep_views(run, view, members[1:])
    showing.measure_metrics(run, view, config.metrics)
    showing.draw_figures(run, view, config.figures)
    return rows


def draw_held_out(config: TokenStudy, task: Task, run: Run) -> list[Tensor]:
    """Batches that no step of training saw."""
    return [task.held_out(run.generator("eval", i)).to(run.device) for i in range(config.eval_batches)]


def pool_rows(scored: Sequence[Sequence[Row]]) -> tuple[list[Row], str]:
    """One row per seed where there are enough of them for an interval; else one per held-out batch, and it says so."""
    if len(scored) >= FEWEST:
        return [answers.average_rows(each) for each in scored], ""
    batches = [answers.average_rows(rows) for rows in zip(*scored, strict=True)]
    seeds = "one seed" if len(scored) == 1 else f"the mean of {len(scored)} seeds"
    return batches, f"interval over held-out batches of {seeds}"


def claim_tokens(run: Run, rows: Sequence[Row], over: str) -> None:
    """Headline numbers; the rounded masks stand beside every rival that keeps as many parts."""
    for key in sorted(filter(is_headline, rows[0]), key=rank_key):
        family, _, name = key.rpartition("/")
        beside: dict[str, Any] = {"note": "; ".join(filter(None, (NOTES.get(name, ""), over)))}
        if name == "rounded":
            beside |= {"rivals": score_equal_rivals(rows, family), "title": TITLES[family]}
        report.claim_score(run, rows, key, **beside)


def score_equal_rivals(rows: Sequence[Row], family: str) -> dict[str, float]:
    """What each rival of equal number reaches on one score, by its name."""
    known = {name: f"{family}/{name}" for name in baselines.RIVALS}
    return {name: report.summarize_score(rows, key).value for name, key in known.items() if key in rows[0]}


def rank_key(key: str) -> int:
    """The number of components and what they recover come first; Python's sort leaves the rest in its order."""
    families = ("ci_l0", "kl_recovered/", "ce_recovered/", "accuracy/")
    return next((i for i, family in enumerate(families) if key.startswith(family)), len(families))


def keep_memory_table(config: TokenStudy, task: Task, run: Run) -> None:
    """At the chosen number of components and below, never above: more might not fit."""
    n = config.decompose.C
    if isinstance(n, int):
        counts = sorted({max(1, n // 4), max(1, n // 2), n})
        run.table(
            "memory", answers.measure_memory(make_problem(config, task), config.decompose, counts, run.device)
        )


def is_headline(key: str) -> bool:
    """The rest is in the table of scores, and the rivals are rows of the claims that they rival."""
    family, _, name = key.rpartition("/")
    if family in ("ce", "kl") or name in baselines.RIVALS:
        return False
    if family == "accuracy":
        return name in ("target", "rounded")
    return name not in ("random", "unmasked")


def claim_stability(run: Run, members: list[Decomposition]) -> None:
    """Do two seeds find the same components? Beside random directions."""
    if len(members) > 1:
        for module, match in compare(members[0], members[1]).items():
            run.claim(
                f"{module}/stability",
                match.stability,
                null=match.chance,
                null_is="random directions",
                better="higher",
                title=f"Cosine of the parts of two seeds, matched, {module}",
            )


def draw_rivals(run: Run, rows: Sequence[Row]) -> None:
    """Our parts beside others of equal number."""
    names = ["ci", "rounded", *baselines.RIVALS]
    summaries = {
        name.replace("_", " "): report.summarize_score(rows, f"kl_recovered/{name}") for name in names
    }
    figure = bars(
        {name: each.value for name, each in summaries.items()},
        y="share of the KL recovered",
        lows={name: each.value if each.low is None else each.low for name, each in summaries.items()},
        highs={name: each.value if each.high is None else each.high for name, each in summaries.items()},
        gray=list(summaries)[2:],
    )
    columns = {
        "kind": list(summaries),
        "value": [each.value for each in summaries.values()],
        "low": [each.low for each in summaries.values()],
        "high": [each.high for each in summaries.values()],
    }
    caption = "1 is the target itself, 0 all components off; all but 'ci' keep the same number of parts; gray: rivals."
    run.figure("equal_l0", figure, columns, caption=caption)


def tell_tokens(rows: Sequence[Row]) -> str:
    """How many parts answer how well, and whether the strongest rival of the same number does better."""
    rivals = score_equal_rivals(rows, "kl_recovered")
    strongest = max(rivals, key=lambda name: rivals[name])
    return (
        f"With {cite('ci_l0', style='.1f')} of {cite('components/total')} parts at a position, "
        f"{cite('kl_recovered/rounded', style='.1%')} of the divergence that switching them all off causes is recovered; "
        f"the strongest rival of as many parts, '{strongest}', recovers {cite('kl_recovered/rounded', 'null', '.1%')}."
    )


# Language models: a target that speaks the story language, or any causal model by reference, decomposed and judged.


def study_lm(config: LmConfig, run: Run) -> None:
    """A language model whose loss has a known floor, or any by reference."""
    task = prepare_language(config, run)
    members = decompose_task(config, task, run)
    rows = conclude_tokens(config, task, run, members)
    ce = report.summarize_score(rows, "ce/target")
    floor: dict[str, Any] = {
        "null": task.floor,
        "null_is": "the story grammar's own entropy, which no model beats",
    }
    run.claim(
        "ce/target",
        ce.value,
        interval=ce,
        kind="median",
        unit="nats",
        better="lower",
        title="Cross-entropy of the target per token",
        **(floor if task.floor is not None else {}),  # pyright: ignore[reportArgumentType]
    )
    run.verdict(f"{tell_tokens(rows)} The target answers at {cite('ce/target', style='.2f')} nats per token.")


def prepare_language(config: LmConfig, run: Run) -> Task:
    """By reference, or trained on stories now."""
    if config.model:
        return tasks.load_task(config)
    state = run.once("target", lambda: tasks.train_on_stories(config, run.derive("target") % 2**31))
    return tasks.make_story_task(config, state)
