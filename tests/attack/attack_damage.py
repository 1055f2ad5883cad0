"""Damage for records, made by code: every way in which a file of a run can be other than it was written."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DEEP = 3000
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n".encode() for old, new in zip("abcdefghij", "bcdefghijk")
)
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e300,
    -5.5,
    "",
    "text",
    "\ud800",
    "<b>&",
    "../../x",
    "a/b",
    [],
    [1],
    ["a", None],
    {},
    {"a": 1},
    [[[]]],
    "x" * 3000,
    "\x00\x1b[31m",
    float("nan"),
)


class Damage(NamedTuple):
    """One way to spoil a file; `apply` is given its path and what it held."""

    name: str
    content: bytes | None = None
    how: str = ""

    def apply(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        if self.content is not None:
            path.write_bytes(self.content)
        elif self.how == "folder":
            path.mkdir()
        elif self.how == "loop":
            path.symlink_to(path.name)
        elif self.how == "elsewhere":
            path.symlink_to("/etc/passwd")
        elif self.how == "pipe":
            import os

            os.mkfifo(path)


def undo(path: Path, content: bytes) -> None:
    """Put back what a file held."""
    Damage("undo", content).apply(path)


def of_file(content: bytes, seed: int) -> Iterator[Damage]:
    """The ways that know nothing of the format."""
    rng = random.Random(seed)
    yield Damage("empty", b"")
    for part in (0.2, 0.5, 0.9):
        yield Damage(f"cut at {part}", content[: int(len(content) * part)])
    yield Damage("cut by one byte", content[:-1])
    yield Damage("zeros", bytes(len(content)))
    yield Damage("zeros at the end", content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    yield Damage("random bytes", rng.randbytes(200))
    flipped = bytearray(content or b"\0")  # a lock is an empty file
    flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    yield Damage("one bit", bytes(flipped))
    yield Damage("twice", content + content)
    yield Damage("not UTF-8", b"\xff\xfe" + content)
    yield Damage("byte order mark", b"\xef\xbb\xbf" + content)
    for how in ("folder", "loop", "elsewhere", "pipe", "gone"):
        yield Damage(how, how=how)


def of_json(content: bytes, seed: int) -> Iterator[Damage]:
    """The ways of JSON: depth, other types at the top, and other types anywhere inside."""
    yield Damage("deep", b"[" * DEEP + b"]" * DEEP)
    yield Damage("deep inside", b'{"state": "finished", "x": ' + b'{"x": ' * DEEP + b"1" + b"}" * DEEP + b"}")
    for value in (b"null", b"7", b'"text"', b"[]", b"{}", b"[1, 2]", b"NaN", b"1" * 5000, b'"\\ud800"'):
        yield Damage(f"only {value[:8].decode()}", value)
    yield from _with_strangers(json.loads(content), seed)


def _with_strangers(value: Any, seed: int) -> Iterator[Damage]:
    rng = random.Random(seed)
    places = list(_places(value))
    for place in rng.sample(places, min(len(places), 14)):
        stranger = rng.choice(STRANGE)
        yield Damage(f"{place} is {stranger!r:.20}", json.dumps(_replaced(value, place, stranger)).encode())
    if isinstance(value, dict):
        more = {**value, "from_the_future": {"a": [1]}, "schema": 99, "": None, "\ud800": "\udfff"}
        yield Damage("unknown keys", json.dumps(more).encode())
        for key in value:
            yield Damage(f"without {key}", json.dumps({k: v for k, v in value.items() if k != key}).encode())


def _places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    if at:
        yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*at, key))


def _replaced(value: Any, place: tuple, stranger: Any) -> Any:
    if not place:
        return stranger
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = _replaced(value[place[0]], place[1:], stranger)
    return copy


def of_lines(content: bytes, seed: int) -> Iterator[Damage]:
    """The ways of JSON lines: one bad line among good ones."""
    first, _, rest = content.partition(b"\n")
    for bad in (
        b'{"step": 1, "x"',
        b"[" * DEEP,
        b"\0" * 64,
        b"7",
        b"{}",
        b'{"step": "a", "total": 1}',
        b"x" * 2_000_000,
        b'{"step": 1e999, "total": 1}',
        b'{"step": 1, "total": ' + b"9" * 400 + b"}",
        b"\xff",
        b'{"step": {}, "total": []}',
        b'{"run": "../../x", "study": "s", "point": {}}',
        b'{"run": 5, "study": null, "point": 1, "pack": [], "minutes": "soon"}',
    ):
        yield Damage(f"line {bad[:12]!r}", first + b"\n" + bad + b"\n" + rest)
    yield Damage("no last newline", content.rstrip(b"\n"))
    yield from _lines_with_strangers(first, rest, seed)


def _lines_with_strangers(first: bytes, rest: bytes, seed: int) -> Iterator[Damage]:
    for damage in _with_strangers(json.loads(first), seed):
        assert damage.content is not None
        yield Damage(damage.name, damage.content + b"\n" + rest)


def of_yaml(content: bytes, seed: int) -> Iterator[Damage]:
    """The ways of YAML: bombs, circles, tags, and lines left out."""
    for name, text in {
        "bomb": BOMB,
        "circle": b"&a {config: *a, study: s, method: m}",
        "list": b"- 1\n",
        "null": b"",
        "text": b"text",
        "deep": b"[" * DEEP,
        "tag": b"!!python/object/apply:os.system ['true']",
        "keys": b"{1: 2, [3]: 4, null: 5}",
        "future": b"schema: 99\n",
        "no numbers": b"schema: x\n",
        "tabs": b"\tschema: 1\n",
        "colon": b"a: b: c\n",
    }.items():
        yield Damage(name, text)
    lines = content.splitlines(keepends=True)
    for i in range(len(lines)):
        yield Damage(f"without line {i}", b"".join(lines[:i] + lines[i + 1 :]))
    old = b"schema: 1\nstudy: s\nmethod: countdown.countdown\nconfig: {steps: 2}\n"  # unsealed, and so read by its types
    for key, value in [
        ("method", b"5"),
        ("method", b"[a]"),
        ("study", b"{}"),
        ("config", b"[1]"),
        ("config", b"7"),
        ("config", b"{1: 2}"),
        ("method", b"no.such"),
        ("method", b"countdown"),
        ("schema", b"true"),
    ]:
        kept = [line for line in old.splitlines(keepends=True) if not line.startswith(key.encode())]
        yield Damage(f"{key}: {value.decode()}", b"".join(kept) + key.encode() + b": " + value + b"\n")
    yield Damage("tags: 5", old + b"tags: 5\n")
    yield Damage("purpose: [1]", old + b"purpose: [1]\n")


def cases(kind: str, content: bytes, seed: int) -> list[Damage]:
    """Everything for a file of this kind: json, lines, yaml or bytes."""
    own = {"json": of_json, "lines": of_lines, "yaml": of_yaml}.get(kind)
    return [*of_file(content, seed), *(own(content, seed) if own else ())]
