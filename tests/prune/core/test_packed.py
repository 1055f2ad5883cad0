import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from digsite.base.errors import UsageError
from digsite.prune.core.packed import orient_features, pack

matrices = st.tuples(st.integers(1, 9), st.integers(1, 200)).flatmap(lambda shape: arrays(bool, shape))


@given(matrices)
def test_unpacking_gives_the_mask_back(keep):
    packed = pack(keep)
    assert (packed.unpack() == keep).all() and packed.shape == keep.shape
    assert (packed.counts() == keep.sum(1)).all()
    assert (packed.transposed().unpack() == keep.T).all()


def test_a_bit_costs_a_bit():
    assert pack(np.ones((10, 640), bool)).nbytes == 10 * 80


def test_features_are_rows_or_columns():
    keep = np.arange(12).reshape(3, 4) % 2 == 0
    assert (orient_features(keep, "rows").unpack() == keep).all()
    assert (orient_features(pack(keep), "columns").unpack() == keep.T).all()
    assert (
        orient_features(np.array([[0.0, -2.0], [3.0, 0.0]]), "rows").unpack()
        == [[False, True], [True, False]]
    ).all()


def test_bad_input_is_named():
    with pytest.raises(UsageError, match="Unknown axis 'diagonal'"):
        orient_features(np.ones((2, 2), bool), "diagonal")
    with pytest.raises(UsageError, match="must have 2 axes, not 1"):
        pack(np.ones(3, bool))
