"""Filters on pinned configs: `lr>0.01 data.name=mnist`, answered from the text of launch.yaml.

A YAML parser takes 3 ms a file, 15 s for 5,000 runs. The files are written by us in one plain style, so a walk over
their lines is enough here, and a pinned file never changes, so its answer is kept.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from digsite.base.stored import read_bytes

_CONDITION = re.compile(r"^([\w.\-/]+?)(<=|>=|!=|=|<|>)(.*)$")
_LINE = re.compile(r"^(?P<indent>\s*)(?P<dash>(?:- )*)(?:(?P<key>[^\s:'\"#][^:]*):(?:\s+|$))?(?P<value>.*)$")


@dataclass(frozen=True)
class Condition:
    path: str
    operator: str
    value: str

    def holds(self, values: list[str]) -> bool:
        if self.operator == "!=":
            return bool(values) and all(not _equal(v, self.value) for v in values)
        return any(_compare(v, self.operator, self.value) for v in values)


def parse(text: str) -> tuple[tuple[Condition, ...], str]:
    """The conditions, and a sentence about the first word that is none."""
    conditions = []
    for word in text.split():
        found = _CONDITION.match(word)
        if not found:
            return (), f"'{word}' is not a condition: write key=value, key>value or key!=value."
        conditions.append(Condition(*found.groups()))
    return tuple(conditions), ""


@lru_cache(maxsize=60_000)
def matches(launch: Path, tag: str, conditions: tuple[Condition, ...]) -> bool:
    data = read_bytes(launch)  # a pipe in its place would be waited for without end
    if not isinstance(data, bytes):
        return False
    text = data.decode(errors="replace")
    if tag and tag not in values_at(text, "tags", whole=True):
        return False
    return all(condition.holds(values_at(text, condition.path)) for condition in conditions)


def values_at(text: str, path: str, *, whole: bool = False) -> list[str]:
    """Every value whose dotted path is `path`, or ends in it: `lr` finds `train.lr`."""
    wanted = (path,) if whole else (path, f"config.{path}")
    return [v for p, v in leaves(text) if p in wanted or (not whole and p.endswith(f".{path}"))]


def leaves(text: str) -> Iterator[tuple[str, str]]:
    """(dotted path, scalar) of block-style YAML; the items of a list share the path of the list."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found or not line.strip():
            continue
        depth = len(found["indent"]) + len(found["dash"])  # the column of the key
        while above and above[-1][0] >= depth:
            above.pop()
        key, value = found["key"], found["value"].strip()
        names = [name for _, name in above] + ([key.strip()] if key else [])
        if value:
            yield ".".join(names), value.strip("'\"")
        elif key:
            above.append((depth, key.strip()))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _equal(a: str, b: str) -> bool:
    x, y = _number(a), _number(b)
    return x == y if x is not None and y is not None else a == b


def _compare(found: str, operator: str, wanted: str) -> bool:
    if operator == "=":
        return _equal(found, wanted)
    x, y = _number(found), _number(wanted)
    if x is None or y is None:
        return False
    return {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[operator]
