"""The shipped null table agrees with a fresh, smaller simulation."""

import numpy as np
import pytest

from digsite.track.core import edge_null


@pytest.mark.parametrize(("n", "memory"), [(70, (0.0, 0.0)), (70, (1.0, 0.6)), (200, (0.8, 0.0))])
def test_p_values_are_even_on_fresh_nulls(n: int, memory: tuple[float, float]) -> None:
    rows = edge_null.ar(memory, 250, n, np.random.default_rng(123))
    top, roots = edge_null.largest(rows)
    p = [edge_null.p_value(float(z), n, (float(a), float(b))) for z, (a, b) in zip(top, roots, strict=True)]
    assert np.mean(np.array(p) < 0.05) < 0.1
    assert 0.3 < np.mean(np.array(p) < 0.5) < 0.7


def test_p_falls_with_z_and_the_tail_goes_on() -> None:
    p = [edge_null.p_value(z, 150, (0.3, 0.0)) for z in (1.0, 3.0, 4.0, 6.0, 20.0)]
    assert p == sorted(p, reverse=True)
    assert p[0] > 0.9 and 0 < p[-1] < 1e-10
    assert edge_null.p_value(1e9, 150, (0.3, 0.0)) >= 0


def test_thresholds_grow_with_length() -> None:
    at = [edge_null.quantiles(n, (0.0, 0.0))[3] for n in (50, 200, 2000, 5000)]
    assert at == sorted(at)
