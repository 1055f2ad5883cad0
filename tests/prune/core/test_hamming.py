import numpy as np
import pytest
from scipy.spatial.distance import cdist, squareform

from digsite.base.errors import UsageError
from digsite.prune.core import hamming
from digsite.prune.core.hamming import distance_matrix, neighbours
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
    ours = distance_matrix(packed, engine=engine)
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
