import numpy as np
import pytest
from scipy.spatial.distance import cdist, squareform

from digsite.base.errors import UsageError
from digsite.prune.core import hamming
from digsite.prune.core.hamming import measure_distances, neighbours
from digsite.prune.core.packed import pack


def plain(keep: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances by scipy, ranked by (distance, index) with the query taken out by index."""
    full = np.rint(cdist(keep, keep, "hamming") * keep.shape[1]).astype(int)
    index = np.empty((len(keep), n), int)
    for i, row in enumerate(full):
        order = sorted((j for j in range(len(keep)) if j != i), key=lambda j: (row[j], j))
        index[i] = order[:n]
    return np.take_along_axis(full, index, axis=1), index


@pytest.mark.parametrize("engine", ["portable", "compiled"])
@pytest.mark.parametrize(("shape", "values"), [((37, 130), 2), ((70, 5), 2), ((9, 64), 1), ((130, 3), 2)])
def test_neighbors_equal_a_plain_search(engine, shape, values):
    """Few bits make many ties; equal rows make distance 0 to others, which must not push the query's own place."""
    if engine == "compiled":
        pytest.importorskip("numba")
    keep = np.random.default_rng(3).integers(0, values, shape).astype(bool)
    for n in (1, 4, len(keep) - 1):
        expected = plain(keep, n)
        found = neighbours(keep, n, "rows", engine=engine)
        assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()
        by_column = neighbours(keep.T, n, "columns", engine=engine)
        assert (by_column[1] == expected[1]).all()


def test_some_queries_one_query_and_all_agree(monkeypatch):
    keep = np.random.default_rng(0).random((40, 90)) < 0.4
    distances, index = neighbours(keep, 7, "rows")
    one = neighbours(keep, 7, "rows", 13)
    assert one[0].shape == (7,) and (one[0] == distances[13]).all() and (one[1] == index[13]).all()
    some = neighbours(keep, 7, "rows", np.array([5, 39]))
    assert (some[1] == index[[5, 39]]).all()
    most = neighbours(keep, 7, "rows", np.arange(1, 40))
    assert (most[1] == index[1:]).all()
    monkeypatch.setattr(hamming, "GRAPH_BYTES", 0)  # what a mask of a hundred thousand features goes through
    assert (neighbours(keep, 7, "rows")[1] == index).all()


@pytest.mark.parametrize("engine", ["portable", "compiled"])
def test_distances_equal_faiss(engine):
    faiss = pytest.importorskip("faiss")
    keep = np.random.default_rng(1).random((50, 128)) < 0.5
    packed = pack(keep)
    index = faiss.IndexBinaryFlat(128)
    index.add(packed.words.view(np.uint8))
    theirs, _ = index.search(packed.words.view(np.uint8), 50)
    ours = measure_distances(packed, engine=engine)
    assert (np.sort(ours, axis=1) == theirs).all()
    assert (squareform(ours.astype(float), checks=True) >= 0).all()


def test_bad_requests_are_named():
    keep = np.eye(5, dtype=bool)
    with pytest.raises(UsageError, match="Asked for 5 neighbours"):
        neighbours(keep, 5)
    with pytest.raises(UsageError, match="no feature 9; features are 0 to 4"):
        neighbours(keep, 2, query=9)
    with pytest.raises(UsageError, match="Unknown engine 'fast'"):
        neighbours(keep, 2, engine="fast")


KEEP = np.random.default_rng(0).random((40, 60)) < np.linspace(0.02, 0.9, 40)[:, None]


@pytest.mark.parametrize("order", hamming.ORDERS)
def test_an_order_is_a_permutation_and_counts_are_true(order):
    arranged = hamming.arrange_features(KEEP, order)
    assert sorted(arranged.tolist()) == list(range(40))
    found = hamming.report_groups(KEEP, order)
    blocks = KEEP[arranged].reshape(5, 8, 60)
    assert found.zero_cells == (~blocks.any(1)).sum() and found.full_cells == blocks.all(1).sum()
    assert found.unique_rows == sum(len({tuple(column) for column in block.T}) for block in blocks)


def test_sorting_by_density_gains_what_it_should():
    shuffled = KEEP[np.random.default_rng(1).permutation(40)]
    assert hamming.report_groups(shuffled, "density").coherence > hamming.measure_coherence(shuffled)


@pytest.mark.parametrize("shape", [(8, 1), (43, 17), (16, 64)])
def test_an_empty_byte_is_an_empty_cell(shape):
    keep = np.random.default_rng(5).random(shape) < 0.2
    for either in (keep, np.asfortranarray(keep)):
        assert hamming.measure_coherence(either) == hamming.report_groups(keep).coherence


def test_coin_flips_give_p_to_the_eighth():
    coins = np.random.default_rng(2).random((800, 400)) < 0.3
    assert hamming.measure_coherence(coins) == pytest.approx(hamming.expected_coherence(coins), rel=0.1)


def test_the_hamming_order_puts_equal_features_together():
    kinds = np.tile(np.arange(4), 8)
    keep = (np.random.default_rng(3).random((4, 50)) < 0.3)[kinds]
    order = hamming.arrange_features(keep, "hamming")
    assert (kinds[order].reshape(4, 8) == kinds[order].reshape(4, 8)[:, :1]).all()


def test_fewer_features_than_a_group():
    assert hamming.measure_coherence(np.zeros((5, 9), bool)) == 0.0
    told = hamming.report_groups(np.zeros((3, 9), bool))
    assert (told.n_cells, told.unique_rows, told.coherence) == (0, 0, 0.0)
