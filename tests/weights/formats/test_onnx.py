import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_matrix import varint

from digsite.base.errors import DigsiteError
from digsite.weights.formats.onnx import read_fields, read_varint, unpack_numbers


@given(value=st.integers(0, 2**63 - 1))
def test_numbers_come_back(value):
    assert read_varint(memoryview(varint(value)), 0) == (value, len(varint(value)))


@given(values=st.lists(st.integers(0, 2**40)))
def test_packed_numbers_come_back(values):
    assert unpack_numbers(memoryview(b"".join(map(varint, values)))) == values


@given(data=st.binary(max_size=60))
def test_any_bytes_are_fields_or_one_sentence(data):
    try:
        assert all(number >= 0 for number, _ in read_fields(memoryview(data)))
    except DigsiteError as error:
        assert "\n" not in error.message


def test_a_message_that_is_cut_is_named():
    with pytest.raises(DigsiteError, match="cut short"):
        list(read_fields(memoryview(b"\x0a\x09abc")))
