from hypothesis import given
from hypothesis import strategies as st

from digsite.base.streams import derive


def test_streams_are_frozen_forever():
    """Changing these numbers would break every resumed run."""
    assert [derive(0, "a"), derive(1, "a", 2)] == [6612858177627257344, 7442858050933122875]


@given(st.integers(), st.text(max_size=5), st.integers(0, 9), st.integers(0, 9))
def test_every_address_is_its_own_stream(seed, name, i, j):
    assert 0 <= derive(seed, name, i) < 2**63
    assert (derive(seed, name, i) == derive(seed, name, j)) == (i == j)
