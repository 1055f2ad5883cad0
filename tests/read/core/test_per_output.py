import numpy as np

from digsite.read.core import per_output


def test_the_odd_output_is_found_and_none_is_an_answer():
    rng = np.random.default_rng(0)
    described = rng.normal(size=(300, 5, 2))
    target = rng.integers(0, 6, 300).astype(float)
    rows = np.flatnonzero(target < 5)
    described[rows, target[rows].astype(int), 0] += 5
    forest = per_output.fit(described[:200], target[:200], 0)
    found = per_output.predict(forest, described[200:])
    assert found.shape == (100, 6) and np.allclose(found.sum(1), 1)
    assert (found.argmax(1) == target[200:]).mean() > 0.85


def test_outputs_are_described_in_their_order(corpus):
    described = per_output.table(corpus.population, {})
    assert described.shape[:2] == (len(corpus), 10) and np.isfinite(described).all()
