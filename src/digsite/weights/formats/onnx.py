"""ONNX files: the weights of the graph, named by the node that uses them; the graph is read and never executed."""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError, NotFound
from digsite.weights.bundle import LazyTensors, StoredTensor, WeightBundle, mark_unread
from digsite.weights.formats import Format

# Protocol buffers read by hand: fields of a message, without a schema and without copying.

Value = int | memoryview
SIZES = {1: 8, 5: 4}


def read_fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and content of every field: whole numbers as int, everything else as the bytes it lies in."""
    position, end = 0, len(data)
    while position < end:
        key, position = read_varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = read_varint(data, position)
            yield number, value
            continue
        if wire == 2:
            size, position = read_varint(data, position)
        elif wire in SIZES:
            size = SIZES[wire]
        else:
            raise DigsiteError(f"This is no protocol buffer: wire type {wire} at byte {position}.")
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


def unpack_numbers(value: Value) -> list[int]:
    """The whole numbers of a repeated field, which may be packed."""
    if isinstance(value, int):
        return [value]
    numbers, position = [], 0
    while position < len(value):
        number, position = read_varint(value, position)
        numbers.append(number)
    return numbers


# TensorProto.DataType, as numpy has it; bfloat16 (16) and fp8 are made from their bytes.
KINDS = {
    1: "<f4",
    2: "u1",
    3: "i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "?",
    10: "<f2",
    11: "<f8",
    12: "<u4",
    13: "<u8",
}
TYPED = {4: "<f4", 10: "<f8"}  # fields of numbers that are not in raw bytes
SMALL = 2  # numbers: shapes, axes and scales of the graph's arithmetic
MOST_ENTRIES = 200_000


@dataclass
class _Tensor:
    name: str = ""
    shape: list[int] = field(default_factory=list)
    data_type: int = 0
    raw: memoryview | None = None
    typed: list[Value] = field(default_factory=list)
    typed_field: int = 0
    outside: dict[str, str] = field(default_factory=dict)


@dataclass
class _Node:
    operator: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, _Tensor] = field(default_factory=dict)


class Onnx(Format):
    """ONNX files: the weights of the graph, named by the node that uses them; the graph is read and never executed."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        return path.is_file() and path.suffix == ".onnx"

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        """Initializers as (out, in): what a MatMul stores as (in, out) is turned, and the metadata says which were."""
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise DigsiteError(f"'{path}' is empty.")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        graph = next((value for number, value in read_fields(data) if number == 7), None)
        if not isinstance(graph, memoryview):
            raise DigsiteError(f"'{path}' is no ONNX model: it has no graph.")
        tensors, nodes = _parse_graph(graph)
        for node in nodes:
            if node.operator == "Constant" and "value" in node.tensors and node.outputs:
                tensors[node.outputs[0]] = node.tensors["value"]
        return _bundle_weights(path, tensors, nodes)


def _parse_graph(graph: memoryview) -> tuple[dict[str, _Tensor], list[_Node]]:
    tensors: dict[str, _Tensor] = {}
    nodes: list[_Node] = []
    for number, value in read_fields(graph):
        if number == 5 and isinstance(value, memoryview):
            tensor = _parse_tensor(value)
            tensors[tensor.name] = tensor
        elif number == 1 and isinstance(value, memoryview):
            nodes.append(_parse_node(value))
        if len(tensors) + len(nodes) > MOST_ENTRIES:
            raise DigsiteError(f"The graph has more than {MOST_ENTRIES:,} entries.")
    return tensors, nodes


def _parse_tensor(data: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, value in read_fields(data):
        if number == 1:
            tensor.shape += unpack_numbers(value)
        elif number == 2 and isinstance(value, int):
            tensor.data_type = value
        elif number == 8 and isinstance(value, memoryview):
            tensor.name = bytes(value).decode(errors="replace")
        elif number == 9 and isinstance(value, memoryview):
            tensor.raw = value
        elif number in (4, 5, 7, 10, 11):
            tensor.typed.append(value)
            tensor.typed_field = number
        elif number == 13 and isinstance(value, memoryview):
            key, text = _parse_pair(value)
            tensor.outside[key] = text
    return tensor


def _parse_pair(data: memoryview) -> tuple[str, str]:
    texts = {
        number: bytes(value).decode(errors="replace")
        for number, value in read_fields(data)
        if not isinstance(value, int)
    }
    return texts.get(1, ""), texts.get(2, "")


def _parse_node(data: memoryview) -> _Node:
    node = _Node()
    for number, value in read_fields(data):
        if isinstance(value, int):
            continue
        if number == 5:
            _parse_attribute(node, value)
        elif number in (1, 2, 3, 4):
            text = bytes(value).decode(errors="replace")
            if number == 1:
                node.inputs.append(text)
            elif number == 2:
                node.outputs.append(text)
            else:
                setattr(node, "name" if number == 3 else "operator", text)
    return node


def _parse_attribute(node: _Node, data: memoryview) -> None:
    name, number, tensor = "", None, None
    for key, value in read_fields(data):
        if key == 1 and isinstance(value, memoryview):
            name = bytes(value).decode(errors="replace")
        elif key == 3 and isinstance(value, int):
            number = value
        elif key == 5 and isinstance(value, memoryview):
            tensor = _parse_tensor(value)
    if number is not None:
        node.numbers[name] = number
    if tensor is not None:
        node.tensors[name] = tensor


def _bundle_weights(path: Path, tensors: dict[str, _Tensor], nodes: list[_Node]) -> WeightBundle:
    stored: dict[str, StoredTensor] = {}
    left: dict[str, dict[str, Any]] = {}
    turned: list[str] = []
    used = {name: (node, position) for node in reversed(nodes) for position, name in enumerate(node.inputs)}
    for name, tensor in tensors.items():
        load, dtype, reason = _choose_loader(path, tensor, used.get(name), tensors)
        n = _count_numbers(tensor.shape)
        if reason and n > SMALL:
            left[name] = mark_unread(reason, tensor.shape)
        use = used.get(name)
        if (
            load is None
            or n <= SMALL
            or (use is not None and use[0].operator == "DequantizeLinear" and use[1] > 0)
        ):
            continue
        _check_promise(path, tensor, n)
        turn = _is_turned(tensor, used.get(name))
        known = _unused_name(_name_by_node(name, used.get(name)), stored)
        shape = tuple(reversed(tensor.shape)) if turn else tuple(tensor.shape)
        stored[known] = StoredTensor(shape, dtype, partial(_turn_matrix, load) if turn else load)
        turned += [known] if turn else []
    return WeightBundle(
        LazyTensors(stored), {"format": "onnx", "turned": turned, "unread": left, "nodes": len(nodes)}
    )


def _check_promise(path: Path, tensor: _Tensor, n: int) -> None:
    """The `n` numbers of its shape against the bytes that lie in the file: sides alone decide what is planned with it."""
    promised = n * (2 if tensor.data_type == 16 else np.dtype(KINDS[tensor.data_type]).itemsize)
    if tensor.raw is not None and not tensor.outside and len(tensor.raw) != promised:
        raise DigsiteError(
            f"'{path}' is damaged: '{tensor.name}' promises {promised:,} bytes and has {len(tensor.raw):,}."
        )


def _turn_matrix(load: Callable[[], Tensor]) -> Tensor:
    """(in, out) to (out, in)."""
    return load().t().contiguous()


def _is_turned(tensor: _Tensor, use: tuple[_Node, int] | None) -> bool:
    """Whether the graph multiplies by it from the right: then it is stored as (in, out)."""
    if use is None or len(tensor.shape) != 2:
        return False
    node, position = use
    return position == 1 and (
        node.operator == "MatMul" or (node.operator == "Gemm" and not node.numbers.get("transB", 0))
    )


def _name_by_node(name: str, use: tuple[_Node, int] | None) -> str:
    """Exporters number their MatMul weights; the path of the node says more: /encoder/fc1/MatMul is encoder.fc1."""
    if use is None or not name.startswith(("onnx::", "_v_", "val_")):
        return name
    node, position = use
    path = [part for part in node.name.split("/") if part][:-1]
    if not path:
        return name
    return ".".join(path) + (".weight" if position == 1 else ".bias")


def _unused_name(name: str, taken: dict[str, StoredTensor]) -> str:
    """The name, with a number behind it where two tensors want the same."""
    n = 1
    known = name
    while known in taken:
        n += 1
        known = f"{name}#{n}"
    return known


def _choose_loader(
    path: Path, tensor: _Tensor, use: tuple[_Node, int] | None, tensors: dict[str, _Tensor]
) -> tuple[Callable[[], Tensor] | None, str, str]:
    """How to read it, its type, and why it is not read where it is not."""
    if tensor.data_type == 16:
        return partial(_load_bfloat, path, tensor), "BF16", ""
    if tensor.data_type not in KINDS:
        return None, "", f"data type {tensor.data_type} of ONNX is not known"
    if use is not None and use[0].operator == "DequantizeLinear" and use[1] == 0:
        return _make_dequantizer(path, tensor, use[0], tensors)
    if tensor.data_type in (2, 3) and len(tensor.shape) > 1:
        return None, "", "quantized, and its scale is applied inside the graph"
    dtype = str(np.dtype(KINDS[tensor.data_type]))
    return partial(_load_tensor, path, tensor), dtype, ""


def _make_dequantizer(
    path: Path, tensor: _Tensor, node: _Node, tensors: dict[str, _Tensor]
) -> tuple[Callable[[], Tensor] | None, str, str]:
    scale = tensors.get(node.inputs[1]) if len(node.inputs) > 1 else None
    zero = tensors.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None:
        return None, "", "quantized by a scale that the graph computes"

    def load() -> Tensor:
        shape = [1] * len(tensor.shape)
        factor = _load_tensor(path, scale)
        if factor.numel() > 1:
            shape[node.numbers.get("axis", 1)] = factor.numel()
        offset = (
            _load_tensor(path, zero).float().reshape(shape if zero.shape and factor.numel() > 1 else [])
            if zero
            else 0.0
        )
        return (_load_tensor(path, tensor).float() - offset) * factor.float().reshape(
            shape if factor.numel() > 1 else []
        )

    return load, "float32", ""


def _load_tensor(path: Path, tensor: _Tensor) -> Tensor:
    dtype = np.dtype(KINDS[tensor.data_type])
    if tensor.outside:
        values = np.frombuffer(_read_outside(path, tensor), dtype)
    elif tensor.raw is not None:
        values = np.frombuffer(tensor.raw, dtype)
    else:
        values = np.array(list(_read_typed(tensor, dtype)), dtype)
    if values.size != _count_numbers(tensor.shape):
        raise DigsiteError(
            f"'{tensor.name}' has {values.size} numbers where its shape {tensor.shape} needs {_count_numbers(tensor.shape)}."
        )
    if np.issubdtype(values.dtype, np.unsignedinteger) and values.dtype.itemsize > 1:
        values = values.astype(np.int64)
    return torch.from_numpy(values.reshape(tensor.shape).copy())


def _load_bfloat(path: Path, tensor: _Tensor) -> Tensor:
    """numpy has no such type; torch reads the bytes."""
    raw = _read_outside(path, tensor) if tensor.outside else tensor.raw
    if raw is None:
        raw = np.array([n for value in tensor.typed for n in unpack_numbers(value)], "<u2").tobytes()
    return torch.frombuffer(bytearray(raw), dtype=torch.bfloat16).reshape(tensor.shape)


def _read_typed(tensor: _Tensor, dtype: np.dtype) -> Iterator[Any]:
    for value in tensor.typed:
        if tensor.typed_field in TYPED and isinstance(value, memoryview):
            yield from np.frombuffer(value, TYPED[tensor.typed_field]).tolist()
        else:
            numbers = np.array(unpack_numbers(value), np.uint64).astype(np.int64)
            yield from (
                numbers.astype(np.uint16).view(np.float16) if dtype == np.float16 else numbers
            ).tolist()


def _read_outside(path: Path, tensor: _Tensor) -> bytes:
    """Bytes in a file beside the model; a path that leaves the folder is refused."""
    folder = path.parent.resolve()
    file = (folder / tensor.outside.get("location", "")).resolve()
    if not file.is_relative_to(folder):
        raise DigsiteError(
            f"'{path}' points outside of its folder for '{tensor.name}': '{tensor.outside['location']}'."
        )
    if not file.is_file():
        raise NotFound(f"'{path}' keeps '{tensor.name}' in '{file.name}', which is not beside it.")
    start, size = int(tensor.outside.get("offset", 0)), int(tensor.outside.get("length", -1))
    with file.open("rb") as handle:
        handle.seek(start)
        return handle.read(size)


def _count_numbers(shape: list[int]) -> int:
    n = 1
    for side in shape:
        n *= side
    return n
