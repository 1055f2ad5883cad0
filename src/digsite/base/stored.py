"""Records on disk that may be damaged: read within bounds, as a value or as a mark that says why, never as an exception.

A file of a run may be cut by a power loss, edited by hand, written by a newer version or placed there by somebody else.
Whoever reads one asks here, so that one bad file costs its own section of a page and nothing more.
"""

import errno
import json
import math
import os
import stat
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

MAX_BYTES = 16_000_000  # no record that digsite writes comes near it
_PIECE = 1 << 16
MAX_DEPTH = 64  # configs and views nest five or six levels; deeper things only exhaust the stack of whoever walks them


@dataclass(frozen=True)
class Damaged:
    """In place of a record that cannot be believed; `reason` is the end of a sentence."""

    reason: str

    def __bool__(self) -> bool:
        """Nothing to show, like an absent record."""
        return False


def read_bytes(path: Path, *, limit: int = MAX_BYTES, follow: bool = False) -> bytes | Damaged | None:
    """The bytes of a plain file of at most `limit` bytes; None when there is no such file.

    Pipes and devices are not opened, for a pipe would never answer; nor are links unless `follow`: a record is a file of
    its own, while a file that a user names may be a link.
    """
    no_link = 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | no_link | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return Damaged("it is a link" if getattr(error, "errno", 0) == errno.ELOOP else _say_plainly(error))
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return Damaged("it is not a plain file")
        if facts.st_size > limit:
            return Damaged(f"it is larger than {limit:,} bytes")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(facts.st_size + 1)
            while len(data) > facts.st_size and len(data) <= limit and (more := file.read(_PIECE)):
                data += more  # it has grown since, or lies about its size as files in /proc do
    except OSError as error:
        return Damaged(_say_plainly(error))
    finally:
        os.close(descriptor)
    return Damaged(f"it is larger than {limit:,} bytes") if len(data) > limit else data


def read_json(path: Path, *, kind: type = object, limit: int = MAX_BYTES) -> Any:
    """The JSON value of a file, when it is a `kind` (dict, list); None when there is no file; else `Damaged`."""
    data = read_bytes(path, limit=limit)
    if not isinstance(data, bytes):
        return data
    value = parse_json(data)
    if isinstance(value, (Damaged, kind)):
        return value
    return Damaged(f"it holds {_type_name(value)} instead of {_NAMES.get(kind, kind.__name__)}")


def parse_json(data: bytes | str) -> Any:
    """The value of JSON text as plain finite data, or `Damaged`.

    NaN and infinities become None, as digsite writes them; halves of surrogate pairs, which no terminal and no page can
    show, become question marks.
    """
    try:
        value = json.loads(data, parse_constant=lambda _: None)
    except RecursionError:
        return Damaged("it is nested too deeply")
    except UnicodeDecodeError:
        return Damaged("it is not text")
    except ValueError:
        return Damaged("it is empty" if not data.strip() else "it is not whole JSON")
    try:
        return _clean_value(value, MAX_DEPTH)
    except RecursionError:
        return Damaged("it is nested too deeply")


def _clean_value(value: Any, depth: int) -> Any:
    """The same value without what JSON allows and nobody can use; raises RecursionError beyond the depth."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list):
        if not depth:
            raise RecursionError
        if isinstance(value, list):
            return [_clean_value(item, depth - 1) for item in value]
        return {clean_text(key): _clean_value(item, depth - 1) for key, item in value.items()}
    return value


def clean_text(text: str) -> str:
    """Text that can be written in UTF-8: halves of surrogate pairs become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def is_text(name: str) -> bool:
    """Whether a name can be written in UTF-8; the system gives out bytes that cannot as halves of surrogate pairs."""
    return name.isascii() or clean_text(name) == name


def finite_number(value: Any) -> float | int | None:
    """A number that arithmetic can take, or None for text, truth values, NaN, infinities and digits without end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of a float
        return None


def fits_type(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation of plain data promises; numbers must be finite.

    Understands float, int, str, None, unions, tuples of one kind and dataclasses, which is what records are made of.
    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(fits_type(value, member) for member in inner)
    if kind is tuple:
        return isinstance(value, tuple) and all(fits_type(item, inner[0]) for item in value)
    if hint in (float, int):
        return finite_number(value) is not None and (hint is float or isinstance(value, int))
    if isinstance(hint, type) and is_dataclass(hint):
        own = get_type_hints(hint)
        return isinstance(value, hint) and all(
            fits_type(getattr(value, f.name), own[f.name]) for f in fields(hint)
        )
    return value is None if hint in (None, NoneType) else isinstance(value, kind or hint)


_NAMES = {dict: "named values", list: "a list", str: "text"}


def _type_name(value: Any) -> str:
    if value is None:
        return "nothing"
    return {dict: "named values", list: "a list", str: "text", bool: "a truth value"}.get(
        type(value), "a number"
    )


def _say_plainly(error: Exception) -> str:
    return f"it cannot be read ({getattr(error, 'strerror', None) or error})"
