"""Protocol buffers read by hand: fields of a message, without a schema and without copying."""

from collections.abc import Iterator

from digsite.base.errors import DigsiteError

Value = int | memoryview
SIZES = {1: 8, 5: 4}


def read_fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and content of every field: whole numbers as int, everything else as the bytes it lies in."""
    position, end = 0, len(data)
    while position < end:
        key, position = read_varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = read_varint(data, position)
            yield number, value
            continue
        if kind == 2:
            size, position = read_varint(data, position)
        elif kind in SIZES:
            size = SIZES[kind]
        else:
            raise DigsiteError(f"This is no protocol buffer: wire type {kind} at byte {position}.")
        if position + size > end:
            raise DigsiteError(
                f"The message is cut short: {position + size} bytes were promised, {end} are there."
            )
        yield number, data[position : position + size]
        position += size


def read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number of up to ten bytes, and the place behind it."""
    value = shift = 0
    while shift < 70:
        if position >= len(data):
            raise DigsiteError("The message is cut short in the middle of a number.")
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise DigsiteError(f"This is no protocol buffer: a number of more than ten bytes at byte {position}.")


def unpacked(value: Value) -> list[int]:
    """The whole numbers of a repeated field, which may be packed."""
    if isinstance(value, int):
        return [value]
    found, position = [], 0
    while position < len(value):
        number, position = read_varint(value, position)
        found.append(number)
    return found
