"""The edge detector's word: family-wise error on nulls, recall on planted jumps, kinds, and invariances."""

import numpy as np
import pytest

from digsite.track.core.detectors.edge import Edge, judge_values
from digsite.track.judge.planted_jumps import (
    BASES,
    draw_build_families,
    keep_level_changes,
    measure_recall,
    plant_jumps,
    share_with_jumps,
)

N = 200


@pytest.fixture(scope="module")
def nulls() -> dict[str, np.ndarray]:
    return draw_build_families(N, 40, np.random.default_rng(7))


@pytest.mark.parametrize(
    "null",
    [
        "white",
        "AR .8",
        "drifting walk",
        "decay",
        "sigmoid of 60",
        "noise falling 4 to 1",
        "t3 tails",
        "power law",
    ],
)
def test_few_false_alarms(nulls: dict[str, np.ndarray], null: str) -> None:
    # 40 series at a true rate of 0.1 give more than 10 alarms with probability 0.001.
    assert share_with_jumps(Edge.detect, nulls[null]) <= 10 / 40


def test_family_wise_error_over_all_nulls(nulls: dict[str, np.ndarray]) -> None:
    shares = [share_with_jumps(Edge.detect, rows[:10]) for rows in nulls.values()]
    assert np.mean(shares) <= 0.10


@pytest.mark.parametrize(("base", "width"), [("flat", 1), ("decay", 1), ("flat", 10), ("decay", 10)])
def test_finds_five_sd_jumps(base: str, width: int) -> None:
    rows, places = plant_jumps(base, width, 400, 15, np.random.default_rng(3))
    result = measure_recall(Edge.detect, rows, places)
    assert result.recall >= 0.9
    assert result.false_per_series <= 0.2
    assert result.covered >= 0.9


def test_invariant_to_scale_and_offset() -> None:
    rows, _ = plant_jumps("flat", 1, 300, 1, np.random.default_rng(5), 6.0)
    plain = Edge.detect(rows[0])
    assert len(plain) == 2
    assert [c.index for c in Edge.detect(-37.0 * rows[0] + 5000)] == [c.index for c in plain]


def test_a_single_spike_is_not_a_jump() -> None:
    values = np.random.default_rng(2).standard_normal(300)
    values[150] += 25
    assert [change.kind for change in Edge.detect(values)] == ["spike"]


def test_a_kink_is_told_apart_from_a_level_change() -> None:
    t = np.arange(300)
    values = 0.8 * np.maximum(t - 150, 0) + 0.5 * np.random.default_rng(4).standard_normal(300)
    kinds = {change.kind for change in Edge.detect(values)}
    assert "kink" in kinds and not kinds & {"step", "ramp"}


def test_widths_tell_steps_from_ramps() -> None:
    rng = np.random.default_rng(11)
    for width, kind in ((1, "step"), (14, "ramp")):
        rows, _ = plant_jumps("flat", width, 400, 1, rng, 15.0)
        assert {change.kind for change in Edge.detect(rows[0])} == {kind}


@pytest.mark.parametrize("n", [40, 60, 150])
@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_the_larger_a_jump_the_surer_it_is(n, size):
    """What is left of a huge jump is no noise, and it tilts no drift."""
    values = np.random.default_rng(n).standard_normal(n) + size * (np.arange(n) >= n // 2)
    (change,) = (c for c in judge_values(values).changes if not c.is_spike)
    assert change.index == n // 2 and change.p is not None and change.p < 0.01


def test_large_steps_of_a_measured_walk_are_refused_and_jumps_are_not() -> None:
    rng = np.random.default_rng(11)
    heavy = draw_build_families(300, 16, rng)["walk with t3 steps + noise"]
    verdicts = [judge_values(row) for row in heavy]
    assert any("wanders" in verdict.because for verdict in verdicts)
    assert sum(bool(keep_level_changes(verdict.changes)) for verdict in verdicts) <= 3
    for base in BASES:
        rows, _ = plant_jumps(base, 1, 300, 8, rng)
        assert sum(judge_values(row).applies for row in rows) >= 7, base
