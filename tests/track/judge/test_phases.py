"""Phase 1 on made-up runs with a planted jump: tables without holes, nulls beside counts."""

import json

import numpy as np

from digsite.track.figures import courses as figures
from digsite.track.figures import dashboard
from digsite.track.judge import hypotheses, phases
from digsite.track.subjects.tracked import TrackedRun

STEPS = np.arange(100) * 10.0
MEASURE = "stable_rank"


def run(seed: int, family: str, jump: bool) -> TrackedRun:
    rng = np.random.default_rng(seed)
    values = 5 + 0.1 * rng.standard_normal((4, 100))
    values[2, 60:] += 2.0 * jump
    loss = np.exp(-np.arange(100) / 20) + 0.01 * rng.standard_normal(100)
    return TrackedRun(
        f"{family}{seed}", family, family, "d", seed, STEPS, tuple("abcd"), {MEASURE: values}, loss, 0.9
    )


def test_the_planted_jumps_are_in_the_table_and_all_pages_draw() -> None:
    runs = [run(s, f, f == "cnn") for f in ("mlp", "cnn") for s in range(3)]
    result = phases.phase1(runs, MEASURE, np.random.default_rng(0), 0)
    found = result.jumps[result.jumps.q < 0.01]
    assert set(found.family) == {"cnn"} and set(found.phase_category) == {"mid"}
    assert len(found) == 3 and set(found.layer) == {"c"} and (abs(found.step - 600) <= 20).all()
    assert len(result.jumps) <= 3 + 4  # 21 series of noise at a family-wise error of 5 %
    assert len(result.layers) == 24 and len(result.convergence) == 6
    text = json.dumps(phases.without_holes(result.critical.to_dict("records")), allow_nan=False)
    assert "NaN" not in text
    rates = phases.rate_by(result.jumps, result.layers, "family").set_index("family").rate
    assert rates["cnn"] >= 0.25 > rates["mlp"]
    assert len(dashboard.dashboard(runs, result).axes) == 10
    assert len(dashboard.architecture_page(result).axes) == 6
    assert figures.layer_heatmap(runs[-1], MEASURE, result.found[-4:]).axes
    assert figures.velocity_and_acceleration(runs[0], MEASURE).axes
    tested = {h.claim: h for h in hypotheses.hypotheses(result, np.random.default_rng(0))}
    assert tested["CNNs jump more often than MLPs"].effect.value > 0.1
    assert tested["jumps happen in the second half of training"].value > 0.5


def test_surrogates_keep_course_and_noise_and_lose_the_jump() -> None:
    (series,) = [s for s in run(0, "cnn", True).series(MEASURE) if s.layer == "c"]
    again = phases.surrogate(series, np.random.default_rng(1))
    assert abs(again.values.mean() - series.values.mean()) < 0.1
    assert 0.05 < np.std(np.diff(again.values)) < 0.3


def test_holes_become_null() -> None:
    assert phases.without_holes({"a": [1.0, float("nan")], "b": np.float64("inf")}) == {
        "a": [1.0, None],
        "b": None,
    }
