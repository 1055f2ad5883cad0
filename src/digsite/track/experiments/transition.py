"""Study: a training with a known answer; is the transition found, and nothing else?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.base.intervals import seed_interval
from digsite.record.verdict import cite
from digsite.track.config import TransitionConfig
from digsite.track.core.detect import ALL_CHANGES, jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.members import EnsembleTracker
from digsite.track.core.series import Series, make_series
from digsite.track.experiments.showing import show_courses, show_spectra
from digsite.track.figures import courses as figures
from digsite.track.judge.windows import (
    DatingCourse,
    Hits,
    RiseWindow,
    count_hits,
    dating_course,
    rise_window,
    steepest_step,
)
from digsite.track.subjects.known_trainings import Setup, set_up_training
from digsite.track.subjects.tracked import TrackedRun, pack_trackers, unpack_runs
from digsite.train import Ensemble, train_ensemble
from digsite.worker.run import Run

LEVEL = 0.05  # of a corrected p, from which on a moment counts as found
Confirmed = list[tuple[Series, Jump]]


def study_transition(config: TransitionConfig, run: Run) -> None:
    """A training whose transition is known in advance."""
    setup = set_up_training(config.task, config)
    run.stage(f"training {config.seeds} networks")
    stored = run.once("training", lambda: _train_setup(config, setup, run))
    names = {"name": config.task.kind, "family": "", "arch": config.task.kind, "dataset": ""}
    runs = unpack_runs(stored, names, [m.seed for m in setup.members])
    confirmed = {tracked.name: _confirmed_finds(tracked, config) for tracked in runs}
    behavior = np.asarray(stored["behavior"])
    _write_transition_tables(run, runs, confirmed, behavior, setup)
    if setup.behavior is None:
        _conclude_null(run, runs, confirmed)
    else:
        _conclude_found(config, run, runs, confirmed, behavior, setup)
    _draw_transition(config, run, runs, confirmed, behavior, setup)


def _train_setup(config: TransitionConfig, setup: Setup, run: Run) -> dict[str, Any]:
    """All seeds at once, tracked."""
    weights = any(m.startswith(("weight/", "update/")) for m in config.measures)
    behavior: list[torch.Tensor] = []

    def write_journal(step: int, values: dict[str, float]) -> None:
        """What is known by now, so that the page shows curves and not a bar; behaviors are those of the sample before."""
        shown = dict(zip(setup.channels, behavior[-1].mean(0).tolist())) if behavior else {}
        run.log(step, **values, **{name.replace(" ", "_"): value for name, value in shown.items()})
        run.let_signals_in()

    tracker = EnsembleTracker(
        setup.probe,
        config.every,
        kinds=setup.kinds,
        weights=weights,
        listen=write_journal,
        shown=config.measures,
    )

    def observe(step: int, ensemble: Ensemble) -> None:
        tracker(step, ensemble)
        if setup.behavior is not None and len(behavior) < len(tracker.trackers[0].records.steps()):
            behavior.append(setup.behavior(ensemble))

    options: dict[str, Any] = {"loss": setup.loss, "start": setup.start}
    train_ensemble(setup.model, setup.data, setup.members, callback=observe, every=config.every, **options)
    rises = torch.stack(behavior, -1) if behavior else torch.zeros(len(setup.members), 0, 0)
    return pack_trackers(tracker.trackers, config.measures) | {"behavior": rises.double()}


def _confirmed_finds(run: TrackedRun, config: TransitionConfig) -> Confirmed:
    """Jumps and smooth transitions of one run, with q-values over all of its layers and measures."""
    series = [s for m in config.measures for s in run.series(m) if len(s.values) >= 20]
    return [
        (s, j)
        for s, jumps in jumps_of_all(series, max_q=config.max_q, kinds=ALL_CHANGES)
        for j in jumps
        if j.q is not None
    ]


def _abrupt_finds(confirmed: Confirmed) -> Confirmed:
    """Jumps."""
    return [(s, j) for s, j in confirmed if not j.is_transition]


def _smooth_finds(confirmed: Confirmed) -> Confirmed:
    """Transitions."""
    return [(s, j) for s, j in confirmed if j.is_transition]


def _conclude_null(run: Run, runs: list[TrackedRun], confirmed: dict[str, Confirmed]) -> None:
    """On a null every jump is a false one; weights are counted apart, they are measured without noise."""
    sides = {"activations": False, "weights": True}
    counts = {
        side: [
            sum(s.measure.startswith("weight/") == weights for s, _ in _abrupt_finds(finds))
            for finds in confirmed.values()
        ]
        for side, weights in sides.items()
    }
    series = [s for tracked in runs for m in tracked.values for s in tracked.series(m)]
    constant = float(np.mean([s.constant for s in series]))
    for side, numbers in counts.items():
        over = seed_interval([float(n) for n in numbers], "count", least=0.0)
        run.claim(
            f"jumps_per_run/{side}",
            float(np.mean(numbers)),
            interval=over,
            unit="jumps",
            kind="count",
            better="lower",
            title=f"False jumps a network, measures of {side}",
        )
    either = [a + b for a, b in zip(*counts.values(), strict=True)]
    hit = sum(n > 0 for n in either)
    beside = {"null": 0.05, "null_is": "the stated rate of false alarms", "better": "lower"}
    title = "Networks with a false jump"
    run.claim_share("runs_with_jumps", hit, len(runs), title=title, **beside)
    run.claim(
        "constant_series",
        constant,
        n=len(series),
        kind="share",
        title="Series without movement beyond rounding",
    )
    rises = sum(len(_smooth_finds(finds)) > 0 for finds in confirmed.values())
    title = "Networks with a false smooth transition"
    run.claim_share("runs_with_transitions", rises, len(runs), title=title, **beside)
    run.headline(["runs_with_jumps", "runs_with_transitions", "jumps_per_run/*"])
    run.verdict(
        f"With nothing to learn, {cite('runs_with_jumps', 'hits')} of {cite('runs_with_jumps', 'n')} networks show a jump, "
        f"where {cite('runs_with_jumps', 'null', '.0%')} may: {cite('jumps_per_run/activations', style='.2f')} per network in "
        f"measures of activations and {cite('jumps_per_run/weights', style='.2f')} in measures of weights. "
        f"{cite('runs_with_transitions', 'hits')} show a smooth transition. "
        f"{cite('constant_series', style='.0%')} of the series are constant."
    )


def _conclude_found(
    config: TransitionConfig,
    run: Run,
    runs: list[TrackedRun],
    confirmed: dict[str, Confirmed],
    behavior: np.ndarray,
    setup: Setup,
) -> None:
    """Found at the right time, and nothing else."""
    lines, courses, headline = [], [], []
    for c, channel in enumerate(setup.channels):
        windows = [rise_window(tracked.steps, behavior[i, c]) for i, tracked in enumerate(runs)]
        name = channel.replace(" ", "_")
        risen, title = sum(w is not None for w in windows), f"Networks in which {channel} rises"
        run.claim_share(f"{name}/risen", risen, len(runs), title=title)
        _jump_claim(config, run, runs, confirmed, windows, name)
        _transition_claims(config, run, runs, confirmed, windows, behavior[:, c], name)
        best = _rank_courses(config, runs, windows)
        courses += [{"channel": channel, **vars(tracked)} for tracked in best]
        if not best or not best[0].runs:
            continue
        first = best[0]
        _claim_course(run, first, name, channel)
        middles = [w.middle for w in windows if w is not None]
        over = seed_interval(middles, "median")
        run.claim(
            f"{name}/step",
            over.value,
            interval=over,
            unit="steps",
            kind="median",
            null=setup.truth.get(channel),
            null_is="closed form",
            title=f"Training step at which {channel} has risen halfway",
            note=_truth_words(setup, channel),
        )
        headline += [f"{name}/steepest_in_window", f"{name}/step"]
        lines.append(_course_words(first, name, channel))
    run.table("courses", pd.DataFrame(courses))
    errors = _clock_errors(runs, behavior, setup)
    text = " ".join(lines) or "No behavior has risen: there is no transition to find."
    if errors:
        worst, beside = float(np.max(np.abs(errors))), {"null": 1.0, "null_is": "a stage that is never seen"}
        title = "Largest error of a stage's time against the closed form"
        name, more = "largest_clock_error", {"kind": "share", "better": "lower", **beside}
        run.claim(name, worst, n=len(errors), title=title, **more)
        text += f" Stage times are within {cite('largest_clock_error')} of the closed form."
    run.headline(headline or ["*/risen"])
    run.verdict(text)


def _claim_course(run: Run, first: DatingCourse, name: str, channel: str) -> None:
    """The best of all curves that were looked at, with a p that is corrected for having looked at all of them."""
    run.claim_share(
        f"{name}/steepest_in_window",
        first.found,
        first.runs,
        null=first.chance / first.runs,
        null_is="a random moment of training",
        p=first.p,
        better="higher",
        title=f"Networks whose fastest change lies where {channel} rises",
        note=f"{first.layer} {first.measure}",
    )


def _course_words(first: DatingCourse, name: str, channel: str) -> str:
    """Found only where the corrected p says so: two of two networks are no evidence among a hundred curves.

    The channel is quoted because its name may hold a digit ('feature 2'), which is no result.
    """
    claim = f"{name}/steepest_in_window"
    counted = f"in {cite(claim, 'hits')} of {cite(claim, 'n')} networks, corrected {cite(claim, 'p')}"
    if first.p < LEVEL:
        return (
            f"The moment of '{channel}' is found: the fastest change of '{first.layer} {first.measure}' lies where it rises "
            f"({counted}; chance {cite(claim, 'null', '.0%')}), halfway after {cite(f'{name}/step')}."
        )
    return f"The moment of '{channel}' is not told from chance: the best of all curves changes fastest there {counted}."


def _jump_claim(
    config: TransitionConfig,
    run: Run,
    runs: list[TrackedRun],
    confirmed: dict[str, Confirmed],
    windows: list[RiseWindow | None],
    name: str,
) -> None:
    """Abrupt events: a transition that takes many samples is a course, not a jump, and need not be among them."""
    steps = [[j.step for _, j in _abrupt_finds(confirmed[tracked.name])] for tracked in runs]
    result = count_hits(windows, steps, config.steps, run.rng(f"shifts/{name}"))
    title = f"Networks with a confirmed jump where {name.replace('_', ' ')} rises"
    _claim_hits(run, f"{name}/jump_in_window", result, "jumps", title)


def _claim_hits(run: Run, claim: str, result: Hits, moved: str, title: str) -> None:
    """Networks with a find in their window, beside the same finds (called `moved`) at random times; none rose, no claim."""
    if not result.runs:
        return
    run.claim_share(
        claim,
        result.found,
        result.runs,
        null=result.null / result.runs,
        null_is=f"the same {moved} moved by chance",
        p=result.p,
        better="higher",
        title=title,
    )


def _transition_claims(
    config: TransitionConfig,
    run: Run,
    runs: list[TrackedRun],
    confirmed: dict[str, Confirmed],
    windows: list[RiseWindow | None],
    behavior: np.ndarray,
    name: str,
) -> None:
    """Smooth transitions with their middle in the window: of the behavior's own curve, and of any measure."""
    curves = [
        make_series(behavior[i], tracked.steps, run=tracked.name, measure=name)
        for i, tracked in enumerate(runs)
    ]
    dated = jumps_of_all(curves, max_q=config.max_q, kinds=ALL_CHANGES)
    first = [[min(jumps, key=lambda j: j.p or 0.0).step] if jumps else [] for _, jumps in dated]
    own = count_hits(windows, first, config.steps, run.rng(f"transitions/{name}"))
    steps = [[j.step for _, j in _smooth_finds(confirmed[tracked.name])] for tracked in runs]
    measures = count_hits(windows, steps, config.steps, run.rng(f"measures/{name}"))
    words = name.replace("_", " ")
    titles = {
        "own_transition": (own, f"Networks whose dated rise of {words} has its middle where it rises"),
        "measure_transition": (
            measures,
            f"Networks with a smooth transition of a measure where {words} rises",
        ),
    }
    for kind, (result, title) in titles.items():
        _claim_hits(run, f"{name}/{kind}_in_window", result, "finds", title)
    rows = [
        {"run": s.run}
        | {key: getattr(j, key) for key in ("kind", "onset", "step", "low", "high", "end", "q")}
        for s, jumps in dated
        for j in jumps
    ]
    run.table(f"transitions_of_{name}", pd.DataFrame(rows))


def _rank_courses(
    config: TransitionConfig, runs: list[TrackedRun], windows: list[RiseWindow | None]
) -> list[DatingCourse]:
    """All curves, those that date the transition in most runs first."""
    pairs = [(layer, k, m) for m in config.measures for k, layer in enumerate(runs[0].layers)]
    courses = [
        dating_course(
            layer,
            m,
            windows,
            [steepest_step(tracked.values[m][k], tracked.steps) for tracked in runs],
            config.steps,
            len(pairs),
        )
        for layer, k, m in pairs
    ]
    return sorted(courses, key=lambda tracked: (tracked.p, -tracked.found))


def _truth_words(setup: Setup, channel: str) -> str:
    """What the null column means."""
    return "null column: the closed form" if channel in setup.truth else "middle of the rise"


def _clock_errors(runs: list[TrackedRun], behavior: np.ndarray, setup: Setup) -> list[float]:
    """Relative differences of half-rise times from the closed form."""
    errors = []
    for c, channel in enumerate(setup.channels):
        for i, tracked in enumerate(runs):
            window = rise_window(tracked.steps, behavior[i, c])
            if window is not None and channel in setup.truth:
                errors.append(window.middle / setup.truth[channel] - 1)
    return errors


def _write_transition_tables(
    run: Run, runs: list[TrackedRun], confirmed: dict[str, Confirmed], behavior: np.ndarray, setup: Setup
) -> None:
    """Finds, curves, behavior."""
    rows = [
        {"run": s.run, "layer": s.layer, "measure": s.measure, "direction": j.direction, **vars(j)}
        for finds in confirmed.values()
        for s, j in finds
    ]
    run.table("jumps", pd.DataFrame(rows))
    windows = [
        {
            "run": tracked.name,
            "channel": channel,
            **(vars(w) if w else {"low": None, "middle": None, "high": None}),
        }
        for i, tracked in enumerate(runs)
        for c, channel in enumerate(setup.channels)
        for w in [rise_window(tracked.steps, behavior[i, c])]
    ]
    run.table("windows", pd.DataFrame(windows))


def _draw_transition(
    config: TransitionConfig,
    run: Run,
    runs: list[TrackedRun],
    confirmed: dict[str, Confirmed],
    behavior: np.ndarray,
    setup: Setup,
) -> None:
    """Curves with what was found."""
    first = runs[0]
    windows = [rise_window(first.steps, behavior[0, c]) for c in range(len(setup.channels))]
    shown: list[RiseWindow] = [w for w in windows if w is not None]
    dated = (
        _rank_courses(config, runs, [rise_window(r.steps, behavior[i, 0]) for i, r in enumerate(runs)])
        if shown
        else []
    )
    picture = figures.transition_figure(
        first,
        setup.channels,
        behavior[0] if behavior.size else None,
        shown,
        confirmed[first.name],
        [(course.measure, course.layer) for course in dated],
    )
    run.figure(
        "transition",
        picture,
        caption="What the network can do, and the curves that date it best; gray bands are its rise from 10 to 90 %, orange "
        "ones changes that the detector confirms.",
    )
    for measure in list(first.values)[:3]:
        show_courses(run, runs, measure, {})
    show_spectra(run, runs)
    run.view("jumps", "table", "tables/jumps.csv")
