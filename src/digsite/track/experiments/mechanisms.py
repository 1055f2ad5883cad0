"""Study: what changed inside the networks at their jumps, against windows of the same width at other times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from digsite.models import build
from digsite.record.verdict import cite
from digsite.track.config import MechanismsConfig
from digsite.track.core.detect import jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.members import overwrite_parameters
from digsite.track.core.probe import Probe
from digsite.track.experiments.grid import cell_recipe, trained_grid
from digsite.track.figures import moments as pictures
from digsite.track.judge import hypotheses, moments
from digsite.track.subjects import grid
from digsite.track.subjects.grid import Cell
from digsite.track.subjects.tracked import TrackedRun
from digsite.train import Ensemble, train_ensemble
from digsite.worker.run import Run

# The smallest effects worth a "no": in shares of ln(keys), jumps, nats, random overlaps, and bits per bit of label.
SMALLEST = {
    "specialization": 0.02,
    "jumps per layer": 0.1,
    "loss": 0.02,
    "overlap": 0.05,
    "information": 0.02,
}


@dataclass(frozen=True)
class MomentWindow:
    """A stretch of training of one member, around a jump or at a random time."""

    member: int
    before: int
    after: int
    jump: bool
    phase: float
    layer: str


@dataclass(frozen=True)
class Examined:
    """Changes across windows, jumps per layer of each network by family, and checkpoint plans."""

    windows: pd.DataFrame
    per_layer: dict[str, list[float]]
    plans: dict[str, Any]


def study_mechanisms(config: MechanismsConfig, run: Run) -> None:
    """What changed at the jumps, each question with its null."""
    trained = trained_grid(config, run)
    examined = examine_cells(config, run, trained)
    run.claim("networks", len(trained), kind="count", title="Networks trained")
    rows = claim_answers(run, examined, ask_questions(run, examined))
    run.headline([row["question"] for row in rows])
    run.verdict("; ".join(question_words(row) for row in rows) + ".")


def examine_cells(config: MechanismsConfig, run: Run, runs: list[TrackedRun]) -> Examined:
    """Plan, train again and look inside, cell by cell."""
    rows: list[dict[str, Any]] = []
    per_layer: dict[str, list[float]] = {}
    plans: dict[str, Any] = {}
    for cell in grid.list_cells(config.sets, config.families, config.archs):
        members = [
            tracked for tracked in runs if tracked.arch == cell.arch and tracked.dataset == cell.dataset
        ]
        jumps = [_confirmed_by_layer(tracked, config) for tracked in members]
        for tracked, member_jumps in zip(members, jumps, strict=True):
            per_layer.setdefault(cell.family, []).append(len(member_jumps) / len(tracked.layers))
            plans[tracked.name] = _plan_cell(config, cell, member_jumps).as_json()
        windows = _choose_windows(config, jumps, run.rng("windows", len(plans)))
        rows += run.once(f"moments-{cell.name}", lambda c=cell, w=windows: _measure_cell(config, run, c, w))
        _draw_filters(config, run, cell, windows)
    table = pd.DataFrame(rows)
    run.json("checkpoint_plan", plans)
    run.table("moments", table)
    return Examined(table, per_layer, plans)


def _confirmed_by_layer(tracked: TrackedRun, config: MechanismsConfig) -> list[tuple[str, Jump]]:
    """The surest first."""
    pairs = [(s.layer, j) for s, jumps in jumps_of_all(tracked.series(config.measure)) for j in jumps]
    sure = [(layer, j) for layer, j in pairs if j.q is not None and j.q <= config.max_q]
    return sorted(sure, key=lambda pair: (pair[1].q or 0.0, -abs(pair[1].relative_change)))


def _plan_cell(config: MechanismsConfig, cell: Cell, jumps: list[tuple[str, Jump]]) -> moments.CheckpointPlan:
    """Steps to keep weights at, within a budget of bytes."""
    task = grid.fit_task(cell, grid.load_task(cell.dataset, config.n_train, config.side, config.seed))
    size = 4 * grid.total_parameters(build(grid.model_config(cell, task, config.patches)))
    budget = int(config.budget_mb * 2**20)
    return moments.plan_checkpoints(
        jumps, config.steps, max_q=config.max_q, checkpoint_bytes=size, budget_bytes=max(budget, 3 * size)
    )


def _choose_windows(
    config: MechanismsConfig, jumps: list[list[tuple[str, Jump]]], rng: np.random.Generator
) -> list[MomentWindow]:
    """The surest jumps of each member, and for each a window of equal width at a random time without a jump."""
    windows = []
    for i, own in enumerate(jumps):
        planned = moments.plan_checkpoints(own[: config.brackets], config.steps, max_q=1.0)
        for bracket in planned.brackets:
            before, after = _bounds_on_grid(bracket.before, bracket.after, config)
            windows.append(
                MomentWindow(i, before, after, True, bracket.jump_step / config.steps, bracket.layer)
            )
            start = _window_elsewhere(before, after, [j.step for _, j in own], config, rng)
            if start is not None:
                phase = (start + after - before) / config.steps
                windows.append(MomentWindow(i, start, start + after - before, False, phase, bracket.layer))
    return windows


def _bounds_on_grid(before: int, after: int, config: MechanismsConfig) -> tuple[int, int]:
    """Steps that were stored, around a moment."""
    low = before // config.every * config.every
    high = min(-(-after // config.every) * config.every, config.steps)
    return low, max(high, low + config.every) if high <= low else high


def _window_elsewhere(
    before: int, after: int, jumps: list[float], config: MechanismsConfig, rng: np.random.Generator
) -> int | None:
    """A start within a third of training of the jump, so that a jump is compared with its own phase."""
    width, third = after - before, config.steps // 3
    low, high = max(before - third, 0), min(before + third, config.steps - width)
    choices = [
        s
        for s in range(low // config.every * config.every, high, config.every)
        if not any(s - config.every <= j <= s + width + config.every for j in jumps)
    ]
    return int(rng.choice(choices)) if choices else None


def _measure_cell(
    config: MechanismsConfig, run: Run, cell: Cell, windows: list[MomentWindow]
) -> list[dict[str, Any]]:
    """Train again from the same seeds, keep the planned weights, and look at each window's two ends."""
    if not windows:
        return []
    kept, _, model, probe = train_again(
        config, cell, {(w.member, s) for w in windows for s in (w.before, w.after)}
    )
    rows = []
    for k, window in enumerate(windows):
        before, after = (kept[window.member, step] for step in (window.before, window.after))
        draw = run.generator(f"moments-{cell.name}", k)
        seen = []
        for step, state in ((window.before, before), (window.after, after)):
            overwrite_parameters(model, state)
            seen.append(moments.look_at_moment(model, probe, step, draw))
        change = moments.moment_difference(seen[0], seen[1]) | moments.weights_moved(before, after, draw)
        rows.append(
            {"family": cell.family, "arch": cell.arch, "dataset": cell.dataset, **asdict(window), **change}
        )
    return rows


Moments = dict[tuple[int, int], dict[str, Tensor]]  # by member and step


def train_again(
    config: MechanismsConfig, cell: Cell, wanted: set[tuple[int, int]]
) -> tuple[Moments, Moments, nn.Module, Probe]:
    """Weights and the optimizer's memory; training is deterministic, so they are those of the first pass."""
    recipe = cell_recipe(config, cell)
    steps = {step for _, step in wanted}
    kept: Moments = {}
    remembered: Moments = {}

    def keep(step: int, ensemble: Ensemble) -> None:
        if step in steps:
            params = ensemble.params
            for member in {m for m, s in wanted if s == step}:
                kept[member, step] = {name: value[member].clone() for name, value in params.items()}
                if config.optimizer_state:
                    remembered[member, step] = ensemble.optimizer_state(member)

    trained = train_ensemble(recipe.model, recipe.data, recipe.members, callback=keep, every=config.every)
    return kept, remembered, trained.ensemble.module(0), recipe.probe


Asked = dict[str, tuple[hypotheses.Effect, str]]


def ask_questions(run: Run, examined: Examined) -> Asked:
    """The five questions of the original: effect and unit of each."""
    table, per_layer, rng = examined.windows, examined.per_layer, run.rng("tests")
    heads = _excess_over_windows(table, "transformer", "specialization", rng)
    families = hypotheses.contrast_groups(per_layer.get("cnn", []), per_layer.get("mlp", []), rng)
    filters = _excess_over_windows(
        table.assign(orthogonality=-table.filter_overlap) if "filter_overlap" in table else table,
        "cnn",
        "orthogonality",
        rng,
    )
    units = _excess_over_windows(table, "", "selectivity/information", rng)
    return {
        "heads specialize at transformer jumps": (heads, "specialization"),
        "CNN layers jump more often than MLP layers": (families, "jumps per layer"),
        "the loss falls more at early jumps than at late ones": (_early_late(table, rng), "loss"),
        "filters become more orthogonal at CNN jumps": (filters, "overlap"),
        "units become more selective at jumps": (units, "information"),
    }


def question_words(row: dict[str, Any]) -> str:
    """The question, its answer, and the corrected p behind it where there was anything to test."""
    tested = f", corrected {cite(row['question'], 'p')}" if row["n"] > 1 else ""
    return f"{row['question']}: {row['answer']} (n = {cite(row['question'], 'n')}{tested})"


def claim_answers(
    run: Run, examined: Examined, asked: Asked, beside: Sequence[float] = ()
) -> list[dict[str, Any]]:
    """Each question with effect, interval, null and a verdict that may be withheld, corrected for all tests made.

    `asked`: from `ask`. `beside`: p of the other tests in the same table.
    """
    corrected = hypotheses.correct_by_holm([*(effect.p for effect, _ in asked.values()), *beside])
    rows = []
    for (question, (effect, unit)), p in zip(asked.items(), corrected):
        answer = replace(effect, p=p).answer(SMALLEST[unit])
        rows.append(
            {"question": question, "unit": unit, "answer": answer, **asdict(effect), "corrected_p": p}
        )
        value = effect.value if np.isfinite(effect.value) else None
        run.claim(
            question,
            value,
            low=effect.low,
            high=effect.high,
            n=effect.n,
            null=0.0,
            unit=unit,
            p=p,
            kind="difference",
            better="higher",
            null_is="no difference",
            title=question[:1].upper() + question[1:],
        )
    claim_measures(run, examined)
    run.table("questions", pd.DataFrame(rows))
    known = {
        q: (f.value, f.low, f.high)
        for q, (f, _) in asked.items()
        if np.isfinite([f.value, f.low, f.high]).all()
    }
    if known:
        run.figure(
            "questions",
            pictures.effects_figure(known, "effect"),
            pd.DataFrame(rows),
            caption="Effects with 95 % intervals.",
        )
    return rows


def claim_measures(run: Run, examined: Examined) -> None:
    """What else changes at jumps, family by family, beside windows of the same width at other times."""
    table, rng = examined.windows, run.rng("measures")
    for measure in ("relative_weight_change", "update_stable_rank", "sparsity", "selectivity/information"):
        for family in sorted(examined.per_layer):
            excess = _excess_over_windows(table, family, measure, rng)
            if excess.n > 1:
                run.claim(
                    f"{family}/{measure}",
                    excess.value,
                    low=excess.low,
                    high=excess.high,
                    n=excess.n,
                    null=0.0,
                    kind="difference",
                    null_is="windows of the same width at other times",
                    title=f"{measure.replace('_', ' ')} at jumps, {family}",
                    note=f"p = {excess.p:.3f}, one of many",
                )


def _excess_over_windows(
    table: pd.DataFrame, family: str, measure: str, rng: np.random.Generator
) -> hypotheses.Effect:
    """At jumps minus at matched windows, one value per network. `family`: '' for all of them."""
    if table.empty or measure not in table:
        return hypotheses.seed_effect([], rng)
    part = table[table.family == family] if family else table
    means = part.groupby(["dataset", "arch", "member", "jump"])[measure].mean().unstack("jump")
    if True not in means or False not in means:
        return hypotheses.seed_effect([], rng)
    return hypotheses.seed_effect((means[True] - means[False]).dropna().tolist(), rng)


def _early_late(table: pd.DataFrame, rng: np.random.Generator) -> hypotheses.Effect:
    """Fall of the probe loss beyond matched windows at jumps in the first half, minus that in the second."""
    if table.empty or "loss" not in table:
        return hypotheses.contrast_groups([], [], rng)
    excess = {}
    for early in (True, False):
        part = table[(table.phase < 0.5) == early]
        means = part.groupby(["arch", "dataset", "member", "jump"])["loss"].mean().unstack("jump")
        both = True in means and False in means
        excess[early] = (means[False] - means[True]).dropna().tolist() if both else []
    return hypotheses.contrast_groups(excess[True], excess[False], rng)


def _draw_filters(config: MechanismsConfig, run: Run, cell: Cell, windows: list[MomentWindow]) -> None:
    """Before and after the first network's surest jump; without a jump, the first tenth of training."""
    jump_windows = [w for w in windows if w.jump and w.member == 0]
    first = (
        jump_windows[0]
        if jump_windows
        else MomentWindow(0, 0, max(config.steps // 10, config.every), False, 0.0, "")
    )
    steps = (first.before // config.every * config.every, first.after // config.every * config.every)
    course = sorted(
        {*steps, *range(0, config.steps + 1, max(config.steps // 20 // config.every, 1) * config.every)}
    )
    kept, remembered, model, probe = train_again(config, cell, {(0, step) for step in course})
    seen: dict[int, moments.Moment] = {}
    for step in course:
        overwrite_parameters(model, kept[0, step])
        seen[step] = moments.look_at_moment(model, probe, step, run.generator("pictures"), deep=False)
    before, after = seen[steps[0]], seen[steps[1]]
    name = f"{cell.arch}_{cell.dataset}"
    if before.patterns:
        layer_name = next(iter(before.patterns))
        picture = pictures.attention_heads(before.patterns[layer_name], after.patterns[layer_name], steps)
        run.figure(f"{name}/heads", picture, caption=f"Attention of {layer_name} before and after.")
        lines = {p: [seen[s].numbers[f"{p}/entropy"] for s in course] for p in before.patterns}
        run.figure(
            f"{name}/entropy",
            pictures.entropy_evolution(course, lines, [w.phase * config.steps for w in jump_windows]),
            caption="Attention entropy in shares of ln(keys); dotted lines are confirmed jumps.",
        )
    kernels = [n for n, w in kept[0, steps[0]].items() if w.ndim == 4]
    if kernels:
        pair = [kept[0, s][kernels[0]] for s in steps]
        run.figure(
            f"{name}/filters",
            pictures.filters_figure(pair[0], pair[1], steps),
            caption="First filters before and after.",
        )
    labels = probe.labels
    fitting = [n for n, t in before.activations.items() if labels is not None and len(t) == len(labels)]
    if len(fitting) > 1 and labels is not None:
        layer = fitting[-2]
        picture = pictures.activation_heatmaps(
            before.activations[layer], after.activations[layer], labels, steps
        )
        run.figure(f"{name}/activations", picture, caption=f"Class means of {layer} before and after.")
    for label, step in zip(("before", "after"), steps, strict=True):
        if torch.stack([w.float().abs().sum() for w in kept[0, step].values()]).isfinite().all():
            about = {"step": str(step), "member": "0", **_score_moment(seen[step], probe)}
            memory = {f"optimizer/{key}": value for key, value in remembered.get((0, step), {}).items()}
            run.tensors(f"checkpoints/{name}_{label}", kept[0, step] | memory, about)


def _score_moment(moment: moments.Moment, probe: Probe) -> dict[str, str]:
    """Loss and accuracy on the fixed probe, as the header of a checkpoint keeps them."""
    details = {"loss": f"{moment.numbers['loss']:.6g}"} if "loss" in moment.numbers else {}
    outputs = list(moment.activations.values())
    if probe.labels is not None and outputs and len(outputs[-1]) == len(probe.labels):
        right = outputs[-1].argmax(-1) == probe.labels.to(outputs[-1].device)
        details["accuracy"] = f"{float(right.float().mean()):.6g}"
    return details
