import re
from datetime import UTC, datetime

from digsite.base.ids import content_id, new_id


def test_ids_are_short_and_sort_by_time():
    early, late = (new_id(datetime(2026, 11, day, 7, 42, tzinfo=UTC)) for day in (20, 21))
    assert re.fullmatch(r"20261120-0742-[a-z0-9]{3}", early)
    assert early < late


def test_content_ids_depend_on_content_alone():
    assert content_id("a") == content_id("a") != content_id("b")
