"""Study: a training with a known answer; is the transition found, and nothing else?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.base import families
from digsite.track.config import TransitionConfig
from digsite.track.core.detect import jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.members import EnsembleTracker
from digsite.track.core.series import Series
from digsite.track.experiments.showing import show_courses, show_spectra
from digsite.track.figures import courses as figures
from digsite.track.judge.windows import Course, Window, course, hits, rise_window, steepest
from digsite.track.subjects.tracked import TrackedRun, pack, unpack
from digsite.track.subjects.transitions._setup import Setup
from digsite.train import Ensemble, train_ensemble
from digsite.worker.run import Run

Confirmed = list[tuple[Series, Jump]]


def transition(config: TransitionConfig, run: Run) -> None:
    setup: Setup = families.scan("digsite.track.subjects.transitions")[config.task.kind].setup(
        config.task, config
    )
    run.stage(f"training {config.seeds} networks")
    stored = run.once("training", lambda: _train(config, setup))
    names = {"name": config.task.kind, "family": "", "arch": config.task.kind, "dataset": ""}
    runs = unpack(stored, names, [m.seed for m in setup.members])
    confirmed = {one.name: _confirmed(one, config) for one in runs}
    behavior = np.asarray(stored["behavior"])
    _tables(run, runs, confirmed, behavior, setup)
    if setup.behavior is None:
        _null(run, runs, confirmed)
    else:
        _found(config, run, runs, confirmed, behavior, setup)
    _figures(config, run, runs, confirmed, behavior, setup)


def _train(config: TransitionConfig, setup: Setup) -> dict[str, Any]:
    weights = any(m.startswith(("weight/", "update/")) for m in config.measures)
    tracker = EnsembleTracker(setup.probe, config.every, kinds=setup.kinds, weights=weights)
    behavior: list[torch.Tensor] = []

    def observe(step: int, ensemble: Ensemble) -> None:
        tracker(step, ensemble)
        if setup.behavior is not None and len(behavior) < len(tracker.trackers[0].records.steps()):
            behavior.append(setup.behavior(ensemble))

    options: dict[str, Any] = {"loss": setup.loss, "start": setup.start}
    train_ensemble(setup.model, setup.data, setup.members, callback=observe, every=config.every, **options)
    rises = torch.stack(behavior, -1) if behavior else torch.zeros(len(setup.members), 0, 0)
    return pack(tracker.trackers, config.measures) | {"behavior": rises.double()}


def _confirmed(run: TrackedRun, config: TransitionConfig) -> Confirmed:
    """Jumps of one run, with q-values over all of its layers and measures."""
    series = [s for m in config.measures for s in run.series(m) if len(s.values) >= 20]
    return [
        (s, j) for s, jumps in jumps_of_all(series) for j in jumps if j.q is not None and j.q <= config.max_q
    ]


def _null(run: Run, runs: list[TrackedRun], confirmed: dict[str, Confirmed]) -> None:
    """On a null every jump is a false one; weights are counted apart, they are measured without noise."""
    sides = {"activations": False, "weights": True}
    counts = {
        side: [
            sum(s.measure.startswith("weight/") == weights for s, _ in found) for found in confirmed.values()
        ]
        for side, weights in sides.items()
    }
    series = [s for one in runs for m in one.values for s in one.series(m)]
    constant = float(np.mean([s.constant for s in series]))
    for side, numbers in counts.items():
        mean = float(np.mean(numbers))
        run.claim(
            f"jumps_per_run/{side}", mean, n=len(runs), null=0.0, unit="jumps", note="all layers and measures"
        )
    either = [a + b for a, b in zip(*counts.values(), strict=True)]
    run.claim(
        "runs_with_jumps", float(np.mean(np.array(either) > 0)), n=len(runs), null=0.05, note="false alarms"
    )
    run.claim("constant_series", constant, n=len(series), note="no movement beyond rounding")
    run.verdict(
        f"With nothing to learn, {sum(map(bool, either))} of {len(runs)} runs show a jump: "
        f"{np.mean(counts['activations']):.2f} per run in measures of activations and "
        f"{np.mean(counts['weights']):.2f} in measures of weights. {constant:.0%} of the series are constant."
    )


def _found(
    config: TransitionConfig,
    run: Run,
    runs: list[TrackedRun],
    confirmed: dict[str, Confirmed],
    behavior: np.ndarray,
    setup: Setup,
) -> None:
    lines, courses = [], []
    for c, channel in enumerate(setup.channels):
        windows = [rise_window(one.steps, behavior[i, c]) for i, one in enumerate(runs)]
        name = channel.replace(" ", "_")
        _jump_claim(config, run, runs, confirmed, windows, name)
        best = _courses(config, runs, windows)
        courses += [{"channel": channel, **vars(one)} for one in best]
        if not best or not best[0].runs:
            continue
        first = best[0]
        note = f"{first.layer} {first.measure}, corrected p = {first.p:.2g}"
        run.claim(
            f"{name}/steepest_in_window", first.found, n=first.runs, null=first.chance, unit="runs", note=note
        )
        middles = np.array([w.middle for w in windows if w is not None])
        span = {"low": float(middles.min()), "high": float(middles.max()), "n": len(middles)}
        null, note = setup.truth.get(channel), _truth(setup, channel)
        run.claim(f"{name}/step", float(np.median(middles)), **span, null=null, unit="steps", note=note)
        lines.append(f"{channel} in {first.found} of {first.runs} runs (chance {first.chance:.1f})")
    run.table("courses", pd.DataFrame(courses))
    errors = _clock_errors(runs, behavior, setup)
    head = "The fastest change of the best measure lies in the 10-90 % window of "
    text = (
        head + "; ".join(lines) + "." if lines else "No behavior has risen: there is no transition to find."
    )
    if errors:
        worst = float(np.max(np.abs(errors)))
        run.claim(
            "largest_clock_error", worst, n=len(errors), null=1.0, note="relative, against the closed form"
        )
        text += f" Stage times are within {worst:.1%} of the closed form."
    run.verdict(text)


def _jump_claim(
    config: TransitionConfig,
    run: Run,
    runs: list[TrackedRun],
    confirmed: dict[str, Confirmed],
    windows: list[Window | None],
    name: str,
) -> None:
    """Abrupt events: a transition that takes many samples is a course, not a jump, and need not be among them."""
    steps = [[j.step for _, j in confirmed[one.name]] for one in runs]
    result = hits(windows, steps, config.steps, run.rng(f"shifts/{name}"))
    note = f"runs with a confirmed jump in the window, p = {result.p:.3f} against shifted jumps"
    run.claim(f"{name}/jump_in_window", result.found, n=result.runs, null=result.null, unit="runs", note=note)


def _courses(config: TransitionConfig, runs: list[TrackedRun], windows: list[Window | None]) -> list[Course]:
    """All curves, those that date the transition in most runs first."""
    pairs = [(layer, k, m) for m in config.measures for k, layer in enumerate(runs[0].layers)]
    found = [
        course(
            layer,
            m,
            windows,
            [steepest(one.values[m][k], one.steps) for one in runs],
            config.steps,
            len(pairs),
        )
        for layer, k, m in pairs
    ]
    return sorted(found, key=lambda one: (one.p, -one.found))


def _truth(setup: Setup, channel: str) -> str:
    return "null column: the closed form" if channel in setup.truth else "middle of the rise"


def _clock_errors(runs: list[TrackedRun], behavior: np.ndarray, setup: Setup) -> list[float]:
    """Relative differences of half-rise times from the closed form."""
    found = []
    for c, channel in enumerate(setup.channels):
        for i, one in enumerate(runs):
            window = rise_window(one.steps, behavior[i, c])
            if window is not None and channel in setup.truth:
                found.append(window.middle / setup.truth[channel] - 1)
    return found


def _tables(
    run: Run, runs: list[TrackedRun], confirmed: dict[str, Confirmed], behavior: np.ndarray, setup: Setup
) -> None:
    rows = [
        {"run": s.run, "layer": s.layer, "measure": s.measure, "direction": j.direction, **vars(j)}
        for found in confirmed.values()
        for s, j in found
    ]
    run.table("jumps", pd.DataFrame(rows))
    windows = [
        {
            "run": one.name,
            "channel": channel,
            **(vars(w) if w else {"low": None, "middle": None, "high": None}),
        }
        for i, one in enumerate(runs)
        for c, channel in enumerate(setup.channels)
        for w in [rise_window(one.steps, behavior[i, c])]
    ]
    run.table("windows", pd.DataFrame(windows))


def _figures(
    config: TransitionConfig,
    run: Run,
    runs: list[TrackedRun],
    confirmed: dict[str, Confirmed],
    behavior: np.ndarray,
    setup: Setup,
) -> None:
    first = runs[0]
    windows = [rise_window(first.steps, behavior[0, c]) for c in range(len(setup.channels))]
    shown: list[Window] = [w for w in windows if w is not None]
    dated = (
        _courses(config, runs, [rise_window(r.steps, behavior[i, 0]) for i, r in enumerate(runs)])
        if shown
        else []
    )
    picture = figures.transition(
        first,
        setup.channels,
        behavior[0] if behavior.size else None,
        shown,
        confirmed[first.name],
        [(one.measure, one.layer) for one in dated],
    )
    run.figure(
        "transition",
        picture,
        caption="What the network can do, and the curves that date it best; gray bands are the 10-90 % windows.",
    )
    for measure in list(first.values)[:3]:
        show_courses(run, runs, measure, {})
    show_spectra(run, runs)
    run.view("jumps", "table", "tables/jumps.csv")
