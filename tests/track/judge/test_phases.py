"""Phase 1 on made-up runs with a planted jump: tables without holes, nulls beside counts."""

import json

import numpy as np
import pytest

from digsite.track.core.detect import jumps_of
from digsite.track.core.series import make_series
from digsite.track.figures import courses as figures
from digsite.track.figures import dashboard
from digsite.track.judge import hypotheses, phases
from digsite.track.judge.phases import find_typology
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
    result = phases.analyze_phase1(runs, MEASURE, np.random.default_rng(0), 0)
    found = result.jumps[result.jumps.q < 0.01]
    assert set(found.family) == {"cnn"} and set(found.phase_category) == {"mid"}
    assert len(found) == 3 and set(found.layer) == {"c"} and (abs(found.step - 600) <= 20).all()
    assert len(result.jumps) <= 3 + 4  # 21 series of noise at a family-wise error of 5 %
    assert len(result.layers) == 24 and len(result.convergence) == 6
    text = json.dumps(phases.without_holes(result.critical.to_dict("records")), allow_nan=False)
    assert "NaN" not in text
    rates = phases.rate_by(result.jumps, result.layers, "family").set_index("family").rate
    assert rates["cnn"] >= 0.25 > rates["mlp"]
    assert len(dashboard.dashboard_figure(runs, result).axes) == 10
    assert len(dashboard.architecture_page(result).axes) == 6
    assert figures.layer_heatmap(runs[-1], MEASURE, result.found[-4:]).axes
    assert figures.velocity_and_acceleration(runs[0], MEASURE).axes
    tested = {h.claim: h for h in hypotheses.test_hypotheses(result, np.random.default_rng(0))}
    assert tested["CNNs jump more often than MLPs"].effect.value > 0.1
    late = tested["jumps happen in the second half of training"]
    assert (
        late.value >= 0.125 and late.null < 0.1
    )  # a jump in one of four layers of half the networks; false alarms


def independent(seed: int) -> TrackedRun:
    """Layers that know nothing of each other and a loss that knows nothing of them; all start with a transient."""
    rng = np.random.default_rng(seed)
    time = np.arange(100)
    decay = np.stack([np.exp(-time / rng.uniform(5, 25)) for _ in range(4)])
    values = 5 + 2 * decay + 0.02 * rng.standard_normal((4, 100))
    loss = np.exp(-time / rng.uniform(5, 25)) + 0.01 * rng.standard_normal(100)
    return TrackedRun(
        f"mlp{seed}", "mlp", "mlp", "d", seed, STEPS, tuple("abcd"), {MEASURE: values}, loss, 0.9
    )


def test_independent_decays_support_no_hypothesis() -> None:
    """Shifted in a circle, 24 runs of independent layers once said "yes, p = .0002" to both."""
    result = phases.analyze_phase1([independent(s) for s in range(24)], MEASURE, np.random.default_rng(0), 0)
    tested = {h.claim: h for h in hypotheses.test_hypotheses(result, np.random.default_rng(1))}
    for claim in ("layers are fast together beyond chance", "the loss falls more often at fast samples"):
        assert tested[claim].answer != "yes" and tested[claim].effect.n == 24, tested[claim]
    assert (result.critical.coordination_p < 0.05).mean() < 0.25
    assert [h.claim for h in tested.values() if h.answer == "yes"] == []


def test_false_alarms_late_in_noise_are_not_jumps() -> None:
    """Tested against none at all, pure noise once said yes (p = .031)."""

    def noise(seed: int) -> TrackedRun:
        values = 5 + 0.1 * np.random.default_rng(seed).standard_normal((4, 100))
        loss = 1 + 0.1 * np.random.default_rng(seed + 99).standard_normal(100)
        return TrackedRun(
            f"mlp{seed}", "mlp", "mlp", "d", seed, STEPS, tuple("abcd"), {MEASURE: values}, loss, 0.9
        )

    result = phases.analyze_phase1([noise(s) for s in range(12)], MEASURE, np.random.default_rng(0), 0)
    tested = {h.claim: h for h in hypotheses.test_hypotheses(result, np.random.default_rng(1))}
    assert tested["jumps happen in the second half of training"].answer != "yes"


def test_surrogates_keep_course_and_noise_and_no_jump() -> None:
    (series,) = [s for s in run(0, "cnn", True).series(MEASURE) if s.layer == "c"]
    again = phases.surrogate_series(series, jumps_of(series), np.random.default_rng(1))
    assert abs(again.values.mean() - series.values[:60].mean()) < 0.1
    assert 0.05 < np.std(np.diff(again.values)) < 0.3


def test_surrogates_of_a_jump_hold_no_jump() -> None:
    rng = np.random.default_rng(2)
    t = np.arange(200)
    jumping = [3 * np.exp(-t / 40) + 2.0 * (t >= 120) + 0.2 * rng.standard_normal(200) for _ in range(12)]
    series = [make_series(values) for values in jumping]
    assert all(len(jumps_of(s)) == 1 for s in series)
    again = [phases.surrogate_series(s, jumps_of(s), rng) for s in series]
    assert sum(bool(jumps_of(s)) for s in again) <= 2
    for before, after in zip(series, again, strict=True):
        assert np.ptp(after.values) == pytest.approx(np.ptp(before.values), rel=0.7)


def test_holes_become_null() -> None:
    assert phases.without_holes({"a": [1.0, float("nan")], "b": np.float64("inf")}) == {
        "a": [1.0, None],
        "b": None,
    }


# The number of kinds: one cloud is no clusters, separate clouds are counted.


@pytest.mark.parametrize("seed", range(4))
def test_one_cloud_has_no_clusters_even_when_it_is_long(seed: int) -> None:
    cloud = np.random.default_rng(seed).standard_normal((150, 6)) * [1, 5, 1, 9, 1, 1]
    cloud[:, 1] += cloud[:, 3]
    assert find_typology(cloud, 0, references=10).k == 1


@pytest.mark.parametrize("k", [2, 3])
def test_separate_clouds_are_counted(k: int) -> None:
    rng = np.random.default_rng(k)
    cloud = np.concatenate([rng.standard_normal((60, 6)) + 12 * np.eye(6)[i] for i in range(k)])
    found = find_typology(cloud, 0, references=10)
    assert found.k == k
    assert sorted(np.bincount(found.labels).tolist()) == [60] * k
    assert found.silhouette is not None and found.silhouette > 0.25


def test_few_jumps_have_no_clusters() -> None:
    assert find_typology(np.zeros((3, 6)), 0).k == 1
    assert find_typology(np.zeros((0, 6)), 0).k == 1
