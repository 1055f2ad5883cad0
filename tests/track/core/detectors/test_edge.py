"""The edge detector's word: family-wise error on nulls, recall on planted jumps, kinds, and invariances."""

import numpy as np
import pytest

from digsite.track.core.detectors import edge
from digsite.track.judge import harness

N = 200


@pytest.fixture(scope="module")
def nulls() -> dict[str, np.ndarray]:
    return harness.nulls(N, 40, np.random.default_rng(7))


@pytest.mark.parametrize("null", sorted(harness.nulls(20, 1, np.random.default_rng(0))))
def test_few_false_alarms(nulls: dict[str, np.ndarray], null: str) -> None:
    # 40 series at a true rate of 0.1 give more than 10 alarms with probability 0.001.
    assert harness.false_alarms(edge.detect, nulls[null]).share <= 10 / 40


def test_family_wise_error_over_all_nulls(nulls: dict[str, np.ndarray]) -> None:
    shares = [harness.false_alarms(edge.detect, rows[:20]).share for rows in nulls.values()]
    assert np.mean(shares) <= 0.10


@pytest.mark.parametrize(("base", "width"), [("flat", 1), ("decay", 1), ("flat", 10), ("decay", 10)])
def test_finds_five_sd_jumps(base: str, width: int) -> None:
    rows, places = harness.planted(400, 15, 5.0, np.random.default_rng(3), base=base, width=width)
    result = harness.recall(edge.detect, rows, places)
    assert result.recall >= 0.9
    assert result.false_per_series <= 0.2
    assert result.covered >= 0.9


def test_invariant_to_scale_and_offset() -> None:
    rows, _ = harness.planted(300, 1, 6.0, np.random.default_rng(5))
    plain = edge.detect(rows[0])
    assert len(plain) == 2
    assert [c.index for c in edge.detect(-37.0 * rows[0] + 5000)] == [c.index for c in plain]


def test_a_single_spike_is_not_a_jump() -> None:
    values = np.random.default_rng(2).standard_normal(300)
    values[150] += 25
    assert [change.kind for change in edge.detect(values)] == ["spike"]


def test_a_kink_is_told_apart_from_a_level_change() -> None:
    t = np.arange(300)
    values = 0.8 * np.maximum(t - 150, 0) + 0.5 * np.random.default_rng(4).standard_normal(300)
    kinds = {change.kind for change in edge.detect(values)}
    assert "kink" in kinds and not kinds & {"step", "ramp"}


def test_widths_tell_steps_from_ramps() -> None:
    rng = np.random.default_rng(11)
    for width, kind in ((1, "step"), (14, "ramp")):
        rows, _ = harness.planted(400, 1, 15.0, rng, width=width)
        assert {change.kind for change in edge.detect(rows[0])} == {kind}
