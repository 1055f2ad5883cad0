"""Named tensors with their description; each is read from disk when it is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import one_sentence


@dataclass(frozen=True)
class StoredTensor:
    """A tensor on disk: what it is without reading it, and how to read it.

    `ranges`, where the format allows it, reads the values from start to stop of the flattened tensor for each (start, stop),
    joined, and touches nothing else of the file.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Tensor]
    ranges: Callable[[Sequence[tuple[int, int]]], Tensor] | None = None


_PIECE = 1 << 20  # numbers that are read at once where a tensor is turned to another type


class LazyTensors(Mapping[str, Tensor]):
    """Looks like a dict of tensors; holds none of them.

    Asking twice reads twice: whoever needs a tensor again keeps it. So a model larger than the memory can be
    walked through one matrix at a time.
    """

    def __init__(self, stored: Mapping[str, StoredTensor]) -> None:
        self.stored = dict(stored)

    def __getitem__(self, name: str) -> Tensor:
        """Reads the tensor from disk."""
        stored = self.stored[name]
        with one_sentence(f"Reading the tensor '{name}'"):  # a table may be well and what it names not
            return stored.load()

    def read_apart(self, name: str) -> Tensor:
        """A copy that leaves memory with its last user; pages of a mapped file stay as long as the file is open."""
        stored = self.stored[name]
        if stored.ranges is None:
            return self[name]
        with one_sentence(f"Reading the tensor '{name}'"):
            return stored.ranges([(0, prod(stored.shape))]).view(stored.shape)

    def read_floats(self, name: str) -> Tensor:
        """The same in float32, filled piece by piece: a shorter float beside it would be half as much again."""
        stored = self.stored[name]
        size = prod(stored.shape)
        if stored.ranges is None or size <= _PIECE:
            return self.read_apart(name).float()
        numbers = torch.empty(size)
        with one_sentence(f"Reading the tensor '{name}'"):
            for at in range(0, size, _PIECE):
                stop = min(at + _PIECE, size)
                numbers[at:stop] = stored.ranges([(at, stop)])
        return numbers.view(stored.shape)

    def derive(
        self, name: str, change: Callable[[Tensor], Tensor], shape: tuple[int, ...] | None = None
    ) -> StoredTensor:
        """What `change` makes of a tensor (float32, of `shape` where it is another), made anew whenever it is read."""
        return StoredTensor(
            shape or self.stored[name].shape, "float32", lambda: change(self.read_floats(name))
        )

    def __contains__(self, name: object) -> bool:
        return name in self.stored

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


@dataclass(frozen=True)
class WeightBundle:
    """`tied` maps each further name of a tensor to the name under which it is in `tensors`.

    `tensors` are the weights by name, read when they are asked for; `meta` is what the file says about itself,
    with what was not understood under `unread` and eight-bit floats without scales under `unscaled`.
    """

    tensors: Mapping[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for alias, name in self.tied.items():
            assert alias not in self.tensors and name in self.tensors, f"'{alias}' is tied to '{name}'"

    def __len__(self) -> int:
        return len(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape, without reading the tensor where it is on disk.

        `name` may be that of a tied tensor.
        """
        return shape_of(self.tensors, self.tied.get(name, name))

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors in memory, tied ones under each of their names.

        Every tensor is read; for one of them alone ask `tensors`.
        """
        state = dict(self.tensors.items())
        return state | {alias: state[name] for alias, name in self.tied.items()}


HELD = 16_000_000  # numbers up to which a model is read once and held: reading it again costs more than its memory


def is_large(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors stay in their file and are read one at a time, so that a model takes the memory of its largest."""
    return isinstance(tensors, LazyTensors) and sum(prod(s.shape) for s in tensors.stored.values()) > HELD


def read_apart(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """`tensors[name]`, read on its own where the tensors lie in a file: see `LazyTensors.read_apart`."""
    return tensors.read_apart(name) if isinstance(tensors, LazyTensors) else tensors[name]


def shape_of(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """The shape of one of `tensors`, not read where it is on disk."""
    return tensors.stored[name].shape if isinstance(tensors, LazyTensors) else tuple(tensors[name].shape)


def empty_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the same names and shapes that hold nothing: for what looks at shapes alone."""
    return {name: torch.empty(shape_of(tensors, name), device="meta") for name in tensors}


# The names that safetensors uses in its header.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def read_dtype(bundle: WeightBundle, name: str) -> torch.dtype | None:
    """The data type of a tensor, without reading it where it is on disk; None for a name that torch does not have.

    `name` is a key of `bundle.tensors`.
    """
    return dtype_of(bundle.tensors, name)


def dtype_of(tensors: Mapping[str, Tensor], name: str) -> torch.dtype | None:
    """The same of one of `tensors`."""
    if isinstance(tensors, LazyTensors):
        stored = tensors.stored[name].dtype
        dtype = DTYPES.get(stored, getattr(torch, stored, None))
        return dtype if isinstance(dtype, torch.dtype) else None
    return tensors[name].dtype


def bundle_module(module: nn.Module, meta: dict[str, Any] | None = None) -> WeightBundle:
    """The parameters and persistent buffers of a module; a parameter with two names is tied.

    `meta` is what to say about it. Tensors share memory with the module: nothing is copied.
    """
    return untie_tensors({name: tensor.detach() for name, tensor in module.state_dict().items()}, meta or {})


def untie_tensors(tensors: Mapping[str, Tensor], meta: dict[str, Any]) -> WeightBundle:
    """Tensors that lie in the same memory in the same way are one tensor with several names.

    `meta` goes into the bundle as it is. Same memory alone is not enough: a transposed view of a matrix is
    another tensor, and writing it as an alias would lose the transposition.
    """
    first: dict[tuple, str] = {}
    tied = {}
    for name, tensor in tensors.items():
        storage = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and storage in first:
            tied[name] = first[storage]
        else:
            first[storage] = name
    return WeightBundle({n: t for n, t in tensors.items() if n not in tied}, meta, tied)


# What a file holds and a reader leaves out: its reason and its size, so that the share can be said.


def mark_unread(reason: str, shape: Sequence[int] = ()) -> dict[str, Any]:
    """One entry of a bundle's `meta["unread"]`; entries without a shape count as one number.

    `reason` completes the sentence "not understood: ..."; `shape` is what the file promises, so nothing has to
    be read for it.
    """
    return {"reason": reason, "shape": [int(side) for side in shape]}


def say_unread(bundle: Any) -> list[str]:
    """What of a file was left out, with its share of the numbers in it: the first lines of any answer about it."""
    meta = getattr(bundle, "meta", {})
    left, code = meta.get("unread", {}), meta.get("own_code", [])
    others = [f"not run: the folder's own code ({', '.join(code)})"] if code else []
    if unscaled := meta.get("unscaled"):
        others.append(
            f"no scales beside {len(unscaled)} weights of eight-bit floats, first '{unscaled[0]}': they are read as stored, "
            "which is right up to an unknown factor if they had some"
        )
    if not left:
        return others
    missing = sum(prod(entry.get("shape", ())) for entry in left.values())
    read = sum(prod(bundle.shape(name)) for name in bundle.tensors)
    first = next(iter(left))
    return [
        f"not understood: {len(left)} of {len(left) + len(bundle.tensors)} entries, {missing / max(read + missing, 1):.1%} "
        f"of the numbers, first '{first}' ({left[first]['reason']})",
        *others,
    ]
