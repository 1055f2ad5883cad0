"""Backdoors from the output layer alone: calibrated on some recipes, judged on others, beside simpler readings."""

from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from digsite.figures import bars
from digsite.read.config import PlantedConfig
from digsite.read.core.metrics import measure_auroc
from digsite.read.judge.head_scan import (
    CALIBRATION,
    LEVEL,
    chance_of_largest_score,
    fit_calibration,
    robust_z,
    scan_head,
)
from digsite.read.subjects.planted import (
    PLANS,
    JoinedImages,
    PlantedPlan,
    draw_plan,
    join_sets,
    make_planted_zoo,
    members_of,
)
from digsite.record.verdict import cite
from digsite.worker.run import Run

_WORKS = 0.5  # a trigger that succeeds less often than this is no planted backdoor
RIVALS = ("row mean", "row norm", "first singular vector")


def study_planted(config: PlantedConfig, run: Run) -> None:
    """Zoos of clean and poisoned networks of many classes; all numbers are of the recipes that did not calibrate."""
    images = join_sets(config.sets, config.side, config.per_set, config.seed)
    rows: list[dict[str, Any]] = []
    plans = {name: PLANS[name] for name in (*config.calibration, *config.recipes)}
    plans |= {f"drawn-{i}": draw_plan(config.draw_seed, i) for i in range(config.drawn)}
    run.stage("recipes", len(plans))
    for number, (name, plan) in enumerate(plans.items()):
        run.say(f"{name}: {plan.in_words}")
        rows += scan_recipe(name, plan, config, images)
        run.let_signals_in(number + 1)
    table = pd.DataFrame(rows)
    clean = table[table["recipe"].isin(config.calibration) & (table["target"] < 0)]
    fitted = fit_calibration(clean["scan"].to_numpy(), images.n_classes) if len(clean) else CALIBRATION
    table["p"] = [chance_of_largest_score(z, images.n_classes, fitted) for z in table["scan"]]
    run.table("networks", table)
    judged = table[~table["recipe"].isin(config.calibration)]
    _claim_planted(judged, images.n_classes, run)  # pyright: ignore[reportArgumentType]
    if config.drawn:
        _claim_activations(judged, plans, run)  # pyright: ignore[reportArgumentType]


def _claim_activations(table: pd.DataFrame, plans: dict[str, PlantedPlan], run: Run) -> None:
    """The same by activation: neurons of either sign have no mean to read, so tanh is expected to hide a backdoor."""
    activation = table["recipe"].map(lambda name: plans[name].model["activation"])
    for kind, rows in table.groupby(activation):
        judged = rows[(rows["target"] < 0) | (rows["success"] >= _WORKS)]
        bad = (judged["target"] >= 0).to_numpy()
        if bad.any() and not bad.all():
            claim_area(run, f"auroc/{kind}", bad, judged["scan"].to_numpy(), f"{kind} networks")


def scan_recipe(
    name: str, plan: PlantedPlan, config: PlantedConfig, images: JoinedImages
) -> list[dict[str, Any]]:
    """One row for each network of a recipe: its largest score and class by the scan and by each rival."""
    zoo = make_planted_zoo(
        name, plan.model, images, members_of(plan, config.networks, config.steps_share), config.seed
    )
    matrices = [k for k in zoo.tensors if zoo.tensors[k].ndim > 2]
    head, feeding = zoo.tensors[matrices[-1]], zoo.tensors[matrices[-2]]
    out = []
    for i in range(len(zoo.target)):
        scan = scan_head(head[i], feeding[i])
        row = {
            "recipe": name,
            "target": int(zoo.target[i]),
            "success": float(zoo.success[i]),
            "accuracy": float(zoo.accuracy[i]),
            "scan": float(scan.scores.max()),
            "scan_class": scan.suspect,
        }
        for rival, scores in score_rivals(head[i]).items():
            row |= {rival: float(scores.max()), f"{rival}_class": int(scores.argmax())}
        out.append(row)
    return out


def score_rivals(head: Tensor) -> dict[str, np.ndarray]:
    """Robust z over classes of what simpler scanners look at."""
    rows = head.double().numpy()
    leading = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[0][:, 0]
    rivals = rows.mean(1), np.linalg.norm(rows, axis=1), np.abs(leading)
    return {name: robust_z(values) for name, values in zip(RIVALS, rivals)}


def _claim_planted(table: pd.DataFrame, n_classes: int, run: Run) -> None:
    """AUROC, named targets and alarms of the judged recipes; triggers that do not work are no planted backdoors."""
    judged = table[(table["target"] < 0) | (table["success"] >= _WORKS)]
    judged = judged if (judged["target"] >= 0).any() else table  # no trigger works yet: all that was planted  # pyright: ignore[reportGeneralTypeIssues]
    bad = (judged["target"] >= 0).to_numpy()
    areas = {name: measure_auroc(bad, judged[name].to_numpy()) for name in ("scan", *RIVALS)}
    named = {n: (judged[f"{n}_class"] == judged["target"]).to_numpy()[bad] for n in ("scan", *RIVALS)}
    rivals = {r: areas[r] for r in RIVALS}
    claim_area(run, "auroc", bad, judged["scan"].to_numpy(), "networks", rivals)
    run.claim_share(
        "target_named",
        int(named["scan"].sum()),
        int(bad.sum()),
        better="higher",
        null=1 / n_classes,
        null_is="one of all classes",
        rivals={r: float(named[r].mean()) for r in RIVALS},  # pyright: ignore[reportCallIssue]
        title="Planted networks whose target class is named first",
    )
    _claim_alarms(run, (judged["p"] < LEVEL).to_numpy(), bad)
    drawn = bars(areas, y="AUROC", nulls=dict.fromkeys(areas, 0.5), null_label="guessing")
    run.figure(
        "auroc", drawn, judged, caption="Clean and poisoned networks told apart by their output layer alone."
    )
    run.headline(["auroc", "target_named", "alarms/clean"], hero="auroc")
    run.verdict(
        f"From the output layer and what feeds it alone, planted networks are told from clean ones with AUROC {cite('auroc', style='.2f')} "
        f"(row means {cite('auroc', 'row mean', '.2f')}, row norms {cite('auroc', 'row norm', '.2f')}); the target class is named first in "
        f"{cite('target_named')}, and {cite('alarms/clean')} of the clean networks of other recipes give an alarm where "
        f"{cite('alarms/clean', 'null')} were allowed.",
        on=["alarms/*"],
    )


def claim_area(
    run: Run,
    name: str,
    bad: np.ndarray,
    score: np.ndarray,
    which: str,
    rivals: dict[str, float] | None = None,
) -> None:
    """How well `score` tells planted (`bad`) from clean `which`, with a bootstrap over networks."""
    rng = run.rng("bootstrap")
    drawn = [measure_auroc(bad[i], score[i]) for i in rng.integers(0, len(bad), (400, len(bad)))]
    low, high = np.nanquantile(drawn, [0.025, 0.975]).tolist()
    run.claim(
        name,
        measure_auroc(bad, score),
        low=low,
        high=high,
        n=len(bad),
        kind="correlation",
        better="higher",
        null=0.5,
        null_is="guessing",
        rivals=rivals or {},
        title=f"Telling planted from clean {which} (AUROC)",
    )


def _claim_alarms(run: Run, alarms: np.ndarray, bad: np.ndarray) -> None:
    """Which of the clean and of the planted networks give an alarm at the stated level."""
    for name, chosen, better in (("clean", ~bad, "lower"), ("planted", bad, "higher")):
        which = "Clean networks of other recipes" if name == "clean" else "Planted networks"
        run.claim_share(
            f"alarms/{name}",
            int(alarms[chosen].sum()),
            int(chosen.sum()),
            null=LEVEL,
            null_is="the stated level",
            better=better,
            title=f"{which} that give an alarm at 5 %",
        )
