"""Study: both phases in one report: dashboard, architecture page, and hypotheses with computed verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from digsite.record.verdict import cite
from digsite.track.config import MechanismsConfig
from digsite.track.experiments.grid import claims, trained_grid
from digsite.track.experiments.mechanisms import Examined, ask_questions, claim_answers, examine_cells
from digsite.track.figures import dashboard
from digsite.track.judge import phases
from digsite.track.judge.hypotheses import Hypothesis, test_hypotheses
from digsite.track.judge.phases import Phase1
from digsite.track.subjects.tracked import TrackedRun
from digsite.worker.run import Run


def study_report(config: MechanismsConfig, run: Run) -> None:
    """Both phases on two pages."""
    runs = trained_grid(config, run)
    result = phases.analyze_phase1(runs, config.measure, run.rng("nulls"), run.derive("typology") % 2**31)
    examined = examine_cells(config, run, runs)
    claims(run, runs, result)
    questions = ask_questions(run, examined)
    ps = [question.p for question, _ in questions.values()]
    tested = test_hypotheses(result, run.rng("hypotheses"), beside=ps)
    asked = claim_answers(run, examined, questions, beside=[test.effect.p for test in tested])
    table = pd.DataFrame([*(h.row() for h in tested), *(_as_hypothesis(row) for row in asked)])
    run.table("hypotheses", table)
    run.table("all_jumps_detailed", result.jumps)
    run.json(
        "integrated_report",
        phases.without_holes(_write_integrated(config, runs, result, examined, tested, asked)),
    )
    run.figure(
        "executive_dashboard", dashboard.dashboard_figure(runs, result), caption="Ten panels on one page."
    )
    run.figure("architectures", dashboard.architecture_page(result), caption="Six panels on the families.")
    run.view("hypotheses", "table", "tables/hypotheses.csv")
    counted = Counter(table.answer)
    for answer, name in (("yes", "hold"), ("no", "do_not"), ("not decidable with this power", "undecided")):
        run.claim(
            f"hypotheses/{name}",
            counted[answer],
            n=len(table),
            kind="count",
            title=f"Hypotheses answered '{answer}'",
        )
    run.claim(
        "hypotheses", len(table), kind="count", title="Hypotheses tested, all corrected for together (Holm)"
    )
    for test in tested:
        _claim_hypothesis(run, test)
    yes = [f"{h.claim} (corrected {cite(h.claim, 'p')})" for h in tested if h.answer == "yes"]
    run.headline([h.claim for h in sorted(tested, key=lambda h: h.corrected)[:3]], hero="executive_dashboard")
    run.verdict(
        f"Of {cite('hypotheses')} hypotheses, corrected for all of them, {cite('hypotheses/hold')} hold, "
        f"{cite('hypotheses/do_not')} do not, and {cite('hypotheses/undecided')} cannot be decided with {cite('networks')} "
        "networks." + (f" Supported: {'; '.join(yes)}." if yes else "")
    )


def _claim_hypothesis(run: Run, test: Hypothesis) -> None:
    """The value minus its null, which is what the detector or other seeds give without the effect."""
    effect = test.effect
    run.claim(
        test.claim,
        effect.value,
        low=effect.low,
        high=effect.high,
        n=effect.n,
        null=0.0,
        p=test.corrected,
        kind="difference",
        better="higher",
        null_is="the detector's false alarms, or networks of other seeds",
        title=test.claim[:1].upper() + test.claim[1:],
        note=f"{test.value:.3g} beside {test.null:.3g}: {test.answer}",
    )


def _as_hypothesis(row: dict[str, Any]) -> dict[str, Any]:
    """A question of phase 2 in the columns of the hypothesis table."""
    shown = {key: row[key] for key in ("answer", "low", "high", "p", "n", "corrected_p")}
    return {
        "hypothesis": row["question"],
        "value": row["value"],
        "null": 0.0,
        "effect": row["value"],
        **shown,
    }


def _write_integrated(
    config: MechanismsConfig,
    runs: list[TrackedRun],
    result: Phase1,
    examined: Examined,
    tested: list[Hypothesis],
    asked: list[dict[str, Any]],
) -> dict[str, Any]:
    """integrated_report.json: every number beside its null, nothing typed in."""
    detectors = result.detectors.set_index("detector").to_dict("index")
    accuracy = [tracked.accuracy for tracked in runs if tracked.accuracy is not None]
    return {
        "metadata": {
            "total_experiments": len(runs),
            "seeds": config.seeds,
            "measure": config.measure,
            "unit_of_time": "training steps",
            "mean_accuracy": float(np.mean(accuracy)) if accuracy else None,
        },
        "phase_1_findings": {
            "jumps": {"total": len(result.jumps), "per_layer_series": detectors},
            "convergence": result.convergence.order.value_counts().to_dict(),
            "layers": result.layers.kind.value_counts().to_dict(),
            "clusters": phases.clustering_summary(result.kinds),
            "runs_coordinated_p05": int((result.critical.coordination_p < 0.05).sum())
            if len(result.critical)
            else 0,
        },
        "phase_2_findings": {
            "windows": len(examined.windows),
            "jumps_per_layer": {
                family: float(np.mean(values)) for family, values in examined.per_layer.items()
            },
            "questions": asked,
        },
        "hypotheses_tested": [h.row() | {"effect_detail": asdict(h.effect)} for h in tested],
    }
