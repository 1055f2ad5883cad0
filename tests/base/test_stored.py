"""The reader of records: a value or a reason, whatever lies there."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base import stored
from digsite.base.stored import Damaged


@given(
    data=st.binary(max_size=60)
    | st.text('[]{},:"0123456789.eE-+NaInfitynulltrue\\ud8', max_size=60).map(str.encode)
)
def test_any_bytes_are_a_value_or_a_reason(data):
    value = stored.parse_json(data)
    if not isinstance(value, Damaged):
        json.dumps(value, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"{", "not whole"),
        (b"\xff", "not text"),
        (b"[" * 100_000, "too deeply"),
        (b"[" * 100 + b"]" * 100, "too deeply"),
        (b"1" * 5000, "not whole"),
    ],
)
def test_the_reason_is_named(data, reason):
    found = stored.parse_json(data)
    assert isinstance(found, Damaged) and reason in found.reason and not found


def test_what_nobody_can_use_becomes_nothing():
    assert stored.parse_json(b'[NaN, Infinity, 1e999, "\\ud800x", {"\\udfff": 1}]') == [
        None,
        None,
        None,
        "?x",
        {"?": 1},
    ]


def test_files_of_every_kind(tmp_path):
    plain = tmp_path / "plain.json"
    plain.write_text('{"a": 1}')
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(plain)
    (tmp_path / "folder").mkdir()
    assert stored.read_json(plain, kind=dict) == {"a": 1}
    assert stored.read_json(tmp_path / "none") is None
    assert "instead of a list" in stored.read_json(plain, kind=list).reason
    assert "larger" in stored.read_json(plain, limit=3).reason
    assert "a link" in stored.read_json(tmp_path / "link").reason
    for name in ("pipe", "folder", "x" * 5000, "a\0b"):
        assert isinstance(stored.read_json(tmp_path / name), Damaged), name


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400, [1]])
def test_no_number(value):
    assert stored.finite_number(value) is None
