"""Study: is a transition announced before the test accuracy shows it, on networks that grok and on those that never do?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digsite.base import settings
from digsite.figures import bars
from digsite.record.verdict import cite
from digsite.track.config import WarningConfig
from digsite.track.core.early_warning import (
    WarningModel,
    choose_threshold,
    first_alarm,
    learn_warning,
    mode_residual,
    online_features,
)
from digsite.track.figures.courses import draw_warnings
from digsite.track.judge.windows import RiseWindow, rise_window
from digsite.track.subjects.grokking_grid import CHEAP, GridShape, read_published_runs, train_grid
from digsite.worker.run import Run

OURS, RIVALS = "our score", ("dynamic modes", "weight norm", "train loss slope")
ONLY_NORM = ("train_loss", "weight_norm")  # what the published curves have as well
NEVER = 0.2  # test accuracy below which a network has not begun to generalize


@dataclass(frozen=True)
class WatchedRun:
    """One training as the warning sees it; `window` is the rise of its test accuracy, None where there is none.

    `late` networks rise after the end of the record: an alarm about them is right, and none is too. A `control` has random
    answers: the score learns on it, and its alarms are counted, but it is in no pair of the AUROC.
    """

    name: str
    steps: np.ndarray
    measures: dict[str, np.ndarray]
    train_accuracy: np.ndarray
    test_accuracy: np.ndarray
    window: RiseWindow | None
    late: bool = False
    control: bool = False


def study_warning(config: WarningConfig, run: Run) -> None:
    """Learns on some primes, judges on others, and then on curves by others."""
    early, late = (_watch_networks(config, run, primes) for primes in (config.learn_on, config.judge_on))
    if not all(_both_kinds(runs) for runs in (early, late)):
        return _say_one_kind(run, [*early, *late])
    model = _learn_model(early, CHEAP)
    scores = {net.name: _score_run(net, model) for net in late}
    signs = _learn_signs(early, model)
    rows = _judge_scores(config, run, early, late, model, scores, signs)
    run.table("runs", pd.DataFrame(rows))
    _judge_published(run, early)
    groks = [net for net in late if net.window is not None]
    if groks:
        run.figure(
            "warning",
            draw_warnings(late, {n: s[OURS] for n, s in scores.items()}, model.threshold),
            caption="The score over training for networks that grok, and for those that do not within the record; dashed: the alarm.",
        )
    run.view("runs", "table", "tables/runs.csv")


def _both_kinds(runs: list[WatchedRun]) -> bool:
    """A score needs runs that grok and runs that do not."""
    return any(net.window for net in runs) and any(not net.window and not net.late for net in runs)


def _watch_networks(config: WarningConfig, run: Run, primes: list[int]) -> list[WatchedRun]:
    """Networks that grok, and networks that never do; what has only begun to generalize at the end is neither."""
    watched = []
    for p in primes:
        shape = GridShape(p, config.width, config.steps, config.every, 0.01)
        run.stage(f"training modulo {p}")
        grid: dict[str, Any] = run.once(
            f"grid-{p}",
            lambda s=shape: train_grid(
                s, config.decays, config.shares, config.seeds, config.seed, config.controls
            ),
        )
        late = _choose_followed(config, run, shape)
        for i, label in enumerate(grid["labels"]):
            curves = {
                name: np.asarray(grid[name][i], dtype=float)
                for name in (*CHEAP, "train_accuracy", "test_accuracy")
            }
            steps = np.arange(len(curves["train_loss"])) * float(config.every)
            window = rise_window(steps, curves["test_accuracy"])
            begun = window is None and curves["test_accuracy"][-3:].mean() >= NEVER
            name = f"p{p} wd{label['decay']:g} share{label['share']:g} seed{label['seed']}"
            measures = {m: curves[m] for m in CHEAP}
            watched.append(
                WatchedRun(
                    name,
                    steps,
                    measures,
                    curves["train_accuracy"],
                    curves["test_accuracy"],
                    window,
                    window is None and (begun or _shape_key(label) in late),
                    label["control"],
                )
            )
    return watched


def _shape_key(label: dict[str, Any]) -> tuple[float, float, int]:
    """What two runs share that differ in one thing."""
    return label["decay"], label["share"], label["seed"]


def _choose_followed(config: WarningConfig, run: Run, shape: GridShape) -> set[tuple[float, float, int]]:
    """Which networks of the smallest share and the larger weight decays rise after the record, when they are followed on.

    They are the cell between: on a shorter record they look as if they never did, and a warning about them would be false.
    """
    if config.follow <= config.steps:
        return set()
    decays, longer = (
        config.decays[1:] or config.decays,
        replace(shape, steps=config.follow, every=config.follow // 30),
    )
    name = f"follow-{shape.modulus}"
    grid = run.once(name, lambda: train_grid(longer, decays, [min(config.shares)], config.seeds, config.seed))
    rises = np.asarray(grid["test_accuracy"])[:, -3:].mean(1) >= NEVER
    return {_shape_key(label) for label, rise in zip(grid["labels"], rises) if rise and label["share"]}  # pyright: ignore[reportArgumentType]


def _run_features(net: WatchedRun, names: tuple[str, ...]) -> np.ndarray:
    """As they could be known at the time."""
    return online_features(net.steps, {n: net.measures[n] for n in names})


def _learn_model(runs: list[WatchedRun], names: tuple[str, ...]) -> WarningModel:
    """Under way is up to a tenth of the rise; later samples show it in the accuracy and teach nothing."""
    features = [_run_features(net, names) for net in runs]
    answers = [
        np.where(net.steps <= net.window.low, 1.0, np.nan)
        if net.window
        else np.full(len(net.steps), np.nan if net.late else 0.0)
        for net in runs
    ]
    model = learn_warning(features, answers, names)
    quiet = [model.score_features(f) for f, net in zip(features, runs) if net.window is None and not net.late]
    return replace(model, threshold=choose_threshold(quiet))


def _score_run(net: WatchedRun, model: WarningModel) -> dict[str, np.ndarray]:
    """Our score and those of the rivals at each sample, nan where there is no past."""
    features = _run_features(net, CHEAP)
    asked = np.isfinite(features).all(1)
    count, norm, loss = len(CHEAP), CHEAP.index("weight_norm"), CHEAP.index("train_loss")
    logs = np.stack([np.log(np.maximum(v, 1e-12)) for v in net.measures.values()], 1)
    return {
        OURS: model.score_features(features),
        "dynamic modes": np.where(asked, mode_residual(logs), np.nan),
        "weight norm": features[:, norm],
        "train loss slope": features[:, 2 * count + loss],
    }


def _learn_signs(runs: list[WatchedRun], model: WarningModel) -> dict[str, float]:
    """Which way a rival announces a transition, learned where ours is learned."""
    scores = {net.name: _score_run(net, model) for net in runs}
    return {
        name: 1.0
        if name == OURS or (a := _lead_auroc(runs, scores, name, 1.0, 0.0)) is None or a >= 0.5
        else -1.0
        for name in (OURS, *RIVALS)
    }


def _lead_auroc(
    runs: list[WatchedRun], scores: dict[str, dict[str, np.ndarray]], name: str, sign: float, lead: float
) -> float | None:
    """Over pairs of a run that groks, at this share of training before its middle, and one that never does, at the same step."""
    wins, pairs = 0.0, 0
    quiet = [net for net in runs if net.window is None and not net.late and not net.control]
    for net in runs:
        if net.window is None:
            continue
        at = net.window.middle - lead * net.steps[-1]
        own = _value_at(net, scores, name, at)
        for other in quiet:
            theirs = _value_at(other, scores, name, at)
            wins += 0.5 if own == theirs else float(sign * own > sign * theirs)
            pairs += 1
    return wins / pairs if pairs else None


def _value_at(net: WatchedRun, scores: dict[str, dict[str, np.ndarray]], name: str, step: float) -> float:
    """The last score by then; 0 where the network has not been scored yet, which is a tie with others such."""
    known = scores[net.name][name][net.steps <= step]
    known = known[np.isfinite(known)]
    return float(known[-1]) if len(known) else 0.0


def _say_one_kind(run: Run, watched: list[WatchedRun]) -> None:
    """Where all networks rise, or none does, there is nothing to tell apart, and the run says how many there are."""
    rising = sum(net.window is not None for net in watched)
    run.claim_share(
        "networks_that_rise",
        rising,
        len(watched),
        null=0.0,
        null_is="networks that are given random answers",
        title="Networks whose test accuracy rises",
    )
    counts = {"rise": float(rising), "do not rise": float(len(watched) - rising)}
    run.figure("kinds", bars(counts, y="networks"), caption="Networks by whether their test accuracy rises.")
    run.headline(["networks_that_rise"], hero="kinds")
    run.verdict(
        f"No transition can be announced: {cite('networks_that_rise', 'hits')} of {cite('networks_that_rise', 'n')} networks rise, "
        "and a score needs networks of both kinds."
    )


def _claim_areas(
    run: Run, late: list[WatchedRun], scores: dict[str, dict[str, np.ndarray]], signs: dict[str, float]
) -> None:
    """How well each score tells runs that will grok from runs that never do, a tenth and a fifth of training ahead."""
    groks, quiet = [r for r in late if r.window], [r for r in late if not (r.window or r.late or r.control)]
    rng = run.rng("bootstrap")
    for name in (OURS, *RIVALS):
        for lead in (0.1, 0.2):
            value = _lead_auroc(late, scores, name, signs[name], lead)
            if value is None:
                continue
            draws = []
            for _ in range(200):
                again = [groks[i] for i in rng.integers(0, len(groks), len(groks))] + [
                    quiet[i] for i in rng.integers(0, len(quiet), len(quiet))
                ]
                draws.append(_lead_auroc(again, scores, name, signs[name], lead))
            low, high = np.quantile(np.array(draws, dtype=float), [0.025, 0.975])
            run.claim(
                f"auroc/{name.replace(' ', '_')}/lead_{lead:.0%}",
                value,
                low=low,
                high=high,
                n=len(groks) + len(quiet),
                null=0.5,
                null_is="guessing",
                kind="correlation",
                better="higher",
                title=f"AUROC of '{name}', {lead:.0%} of training ahead",
                note=f"{len(groks)} that grok, {len(quiet)} that never do",
            )


def _list_alarms(
    early: list[WatchedRun],
    late: list[WatchedRun],
    model: WarningModel,
    scores: dict[str, dict[str, np.ndarray]],
    signs: dict[str, float],
) -> list[dict[str, Any]]:
    """First alarm of every score in every run, at the threshold that quiet runs of other moduli allow."""
    rows = []
    quiet_early = [r for r in early if not r.window and not r.late]
    early_scores = {net.name: _score_run(net, model) for net in quiet_early}
    for name in (OURS, *RIVALS):
        sign = signs[name]
        threshold = choose_threshold([sign * early_scores[net.name][name] for net in quiet_early])
        for net in late:
            alarm = first_alarm(net.steps, sign * scores[net.name][name], threshold)
            lead = (net.window.middle - alarm) / net.steps[-1] if net.window and alarm is not None else None
            rows.append(
                {
                    "score": name,
                    "run": net.name,
                    "groks": net.window is not None,
                    "late": net.late,
                    "alarm": alarm,
                    "lead": lead,
                    "middle": net.window.middle if net.window else None,
                }
            )
    return rows


def _judge_scores(
    config: WarningConfig,
    run: Run,
    early: list[WatchedRun],
    late: list[WatchedRun],
    model: WarningModel,
    scores: dict[str, dict[str, np.ndarray]],
    signs: dict[str, float],
) -> list[dict[str, Any]]:
    """On runs that the model was not made on."""
    groks, quiet = [r for r in late if r.window], [r for r in late if not r.window and not r.late]
    _claim_areas(run, late, scores, signs)
    rows = _list_alarms(early, late, model, scores, signs)
    table = pd.DataFrame(rows)
    for name, part in table.groupby("score", sort=False):
        _alarm_claims(run, str(name).replace(" ", "_"), part)
    run.headline(["auroc/our_score/lead_*", "alarms/our_score/*"], hero="warning")
    if groks and quiet:
        alarm = "alarms/our_score"
        run.verdict(
            f"On moduli that it was not learned on the score has AUROC {cite('auroc/our_score/lead_10%', style='.2f')} a tenth and "
            f"{cite('auroc/our_score/lead_20%', style='.2f')} a fifth of training before the middle of the rise; "
            f"{cite(alarm + '/ahead_10%', 'hits')} of {cite(alarm + '/ahead_10%', 'n')} rises are announced a tenth ahead, with an "
            f"alarm in {cite(alarm + '/false_per_run', 'hits')} of {cite(alarm + '/false_per_run', 'n')} networks that never rise.",
            on=["auroc/our_score/*", "alarms/our_score/*"],
        )
    return rows


def _alarm_claims(run: Run, name: str, part: pd.DataFrame) -> None:
    """False alarms and lead times."""
    quiet, groks = part[~part.groks & ~part.late], part[part.groks]
    if not len(quiet) or not len(groks):
        return
    false = int(quiet.alarm.notna().sum())
    run.claim_share(
        f"alarms/{name}/false_per_run",
        false,
        len(quiet),
        null=0.05,
        null_is="the level that was set",
        better="lower",
        title=f"Networks that never rise about which '{name}' alarms",
    )
    ahead = int((groks.lead.fillna(-1) >= 0.1).sum())
    run.claim_share(
        f"alarms/{name}/ahead_10%",
        ahead,
        len(groks),
        null=0.0,
        null_is="no alarm",
        better="higher",
        title=f"Rises that '{name}' announces a tenth of training ahead",
    )
    late = part[part.late]
    if len(late):
        run.claim(
            f"alarms/{name}/about_late_ones",
            int(late.alarm.notna().sum()),
            n=len(late),
            unit="networks",
            note="that rise after the record: neither false nor asked for",
        )
    leads = groks.lead.dropna()
    if len(leads):
        run.claim(
            f"alarms/{name}/median_lead",
            leads.median(),
            low=leads.min(),
            high=leads.max(),
            n=len(leads),
            null=0.0,
            note="share of training before the middle of the rise; interval: least and largest",
        )


def _judge_published(run: Run, early: list[WatchedRun]) -> None:
    """The score from loss and norm alone, learned on own networks, asked about published curves of other groups."""
    folder = settings.data_dir()
    if folder is None or not (Path(folder) / "grokking_curves").is_dir():
        return run.say("The published curves are not here (DIGSITE_DATA): only own networks are judged.")
    model = _learn_model(early, ONLY_NORM)
    rows = []
    for published in read_published_runs(Path(folder) / "grokking_curves"):
        if "sum_of_squared_weights" not in published.columns:
            continue  # the source kept no norm of transformers
        c, steps = published.columns, published.epochs
        measures = {"train_loss": c["train_loss"], "weight_norm": c["sum_of_squared_weights"]}
        scores = model.score_features(online_features(steps, measures))
        window = rise_window(steps, c["test_acc"])
        alarm = first_alarm(steps, scores, model.threshold)
        lead = (window.middle - alarm) / steps[-1] if window and alarm is not None else None
        onset, middle = (window.low, window.middle) if window else (None, None)
        rows.append({"run": published.name, "alarm": alarm, "onset": onset, "middle": middle, "lead": lead})
    table = pd.DataFrame(rows)
    run.table("published", table)
    rising = table[table.middle.notna()]
    ahead = int((rising.lead.fillna(-1) > 0).sum())
    still = table[table.middle.isna()]
    run.claim_share(
        "published/alarm_before_middle",
        ahead,
        len(rising),
        null=float(still.alarm.notna().mean()) if len(still) else 0.0,
        null_is="alarms about published runs that never rise",
        note="loss and norm alone",
    )
    run.claim("published/false_alarms", int(still.alarm.notna().sum()), n=len(still), unit="runs")
