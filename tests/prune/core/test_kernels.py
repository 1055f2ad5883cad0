"""The two engines give the same bits, whatever the machine has."""

import numpy as np
import pytest

from digsite.prune.core import kernels
from digsite.prune.core.kernels import portable
from digsite.prune.core.packed import pack


@pytest.fixture(scope="module")
def compiled():
    pytest.importorskip("numba")
    return kernels.pick_engine("compiled", 0)


@pytest.mark.parametrize(
    ("shape", "density"), [((38, 130), 0.5), ((21, 64), 0.07), ((30, 200), 0.95), ((2, 3), 0.5)]
)
def test_trades_are_the_same_in_both_engines(compiled, shape, density):
    rng = np.random.default_rng(5)
    packed = pack(rng.random(shape) < density * rng.uniform(0.3, 1, shape[1]))
    half = shape[0] // 2
    order, keys = rng.permutation(shape[0]), rng.integers(0, 1 << 64, half, np.uint64)
    a, b = packed.words.copy(), packed.words.copy()
    portable.trade_rows(a, order[:half], order[half : 2 * half], keys, shape[1])
    compiled.trade_rows(b, order[:half], order[half : 2 * half], keys, shape[1])
    assert (a == b).all() and (shape[0] < 3 or (a != packed.words).any())


def test_selection_survives_a_wrong_guess(compiled):
    """The limit is guessed from every eighth entry; here those are all far away."""
    row = np.arange(1000, 1800)
    row[1::8] = np.arange(100)
    distances = np.stack([row, np.zeros(800, int)]).astype(np.uint16)
    for n in (1, 60, 300, 799):
        ours = compiled.select_nearest(distances, np.array([9, 0]), n)
        theirs = portable.select_nearest(distances, np.array([9, 0]), n)
        assert (ours[0] == theirs[0]).all() and (ours[1] == theirs[1]).all()


def test_long_features_do_not_overflow(compiled):
    keep = np.zeros((3, 70_000), bool)
    keep[1] = True
    packed = pack(keep)
    assert compiled.measure_all(packed.words)[0, 1] == 70_000 == portable.measure_all(packed.words)[0, 1]


def test_the_compiler_is_left_alone_for_small_work(monkeypatch):
    monkeypatch.delitem(kernels.sys.modules, "digsite.prune.core.kernels.compiled", raising=False)
    assert kernels.pick_engine("auto", 10).__name__.endswith("portable")


@pytest.mark.parametrize("values", [2, 7, 10_000])
def test_limits_of_rows_cut_the_same_set(compiled, values):
    scores = np.random.default_rng(values).integers(0, values, (9, 57)).astype(np.float32) / 8
    for k in (1, 20, 56, 57):
        for engine in (compiled, portable):
            limits, tied = engine.find_row_limits(scores, k)
            counts = (scores <= limits).sum(1)
            assert (counts >= k).all() and ((counts > k) == tied).all()
            assert (np.sort(scores, axis=1)[:, k - 1] <= limits[:, 0]).all()
            assert ((scores < limits).sum(1) < k)[tied].all()


@pytest.mark.parametrize("kind", ["distinct", "ties", "zeros", "infinite"])
def test_both_engines_prune_the_same_weights_of_a_row(compiled, kind):
    scores = np.abs(np.random.default_rng(3).standard_normal((40, 257))).astype(np.float32)
    if kind == "ties":
        scores = np.round(scores * 4) / 4
    if kind == "zeros":
        scores[:, ::3] = 0
        scores[5] = 0
    if kind == "infinite":
        scores[:, 7], scores[3, :200] = np.inf, np.inf
    for k in (1, 77, 128, 256):
        found = []
        for engine in (portable, compiled):
            limits, tied = engine.find_row_limits(scores, k)
            pruned = scores <= limits
            assert ((pruned.sum(axis=1) > k) == tied).all() and (pruned.sum(axis=1) >= k).all()
            found.append(pruned)
        assert (found[0] == found[1]).all()
