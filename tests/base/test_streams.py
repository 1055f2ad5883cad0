import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from digsite.base.streams import content_id, derive_seed, new_id


def test_streams_are_frozen_forever():
    """Changing these numbers would break every resumed run."""
    assert [derive_seed(0, "a"), derive_seed(1, "a", 2)] == [6612858177627257344, 7442858050933122875]


@given(st.integers(), st.text(max_size=5), st.integers(0, 9), st.integers(0, 9))
def test_every_address_is_its_own_stream(seed, name, i, j):
    assert 0 <= derive_seed(seed, name, i) < 2**63
    assert (derive_seed(seed, name, i) == derive_seed(seed, name, j)) == (i == j)


def test_ids_are_short_and_sort_by_time():
    early, late = (new_id(datetime(2026, 11, day, 7, 42, tzinfo=UTC)) for day in (20, 21))
    assert re.fullmatch(r"20261120-0742-[a-z0-9]{3}", early)
    assert early < late


def test_content_ids_depend_on_content_alone():
    assert content_id("a") == content_id("a") != content_id("b")
