"""Measurements for charts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from digsite.serve.journals import columns, downsampled


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(2, 60))
def test_thinning_keeps_the_extremes_and_the_order(values, points):
    steps, kept = downsampled(list(range(len(values))), values, points)
    assert len(kept) <= max(points, 2)
    assert steps == sorted(steps)
    assert min(kept) == min(values) and max(kept) == max(values)
    assert all(values[s] == v for s, v in zip(steps, kept))


def test_short_series_stay_whole():
    assert downsampled([1, 2], [3.0, 4.0], 10) == ([1, 2], [3.0, 4.0])


def test_a_missing_or_broken_journal_is_empty(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert columns(path) == {}
    path.write_text("nonsense\n")
    assert columns(path) == {}


def test_a_journal_that_grew_is_read_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "a": 1.0}\n')
    assert columns(path) == {"a": ([0], [1.0])}
    path.write_text('{"step": 0, "a": 1.0}\n{"step": 1, "a": 2.0, "b": 3}\n')
    assert columns(path)["a"] == ([0, 1], [1.0, 2.0])
    assert np.isclose(columns(path)["b"][1], 3).all()
