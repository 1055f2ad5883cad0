"""Filters on pinned configs: `lr>0.01 data.name=mnist`, answered from the text of launch.yaml.

A YAML parser takes 3 ms a file, 60 s for 20,000 runs. The files are written by us in one plain style, so a walk over their
lines is enough here. A pinned file never changes, and runs share most of their settings: every different (path, value) is kept
once, a run is an array of their numbers (160 bytes for forty settings), and a condition is asked of each different pair and not
of each run.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

_CONDITION = re.compile(r"^([\w.\-/]+?)(<=|>=|!=|=|<|>)(.*)$")
_LINE = re.compile(r"^(?P<indent>\s*)(?P<dash>(?:- )*)(?:(?P<key>[^\s:'\"#][^:]*):(?:\s+|$))?(?P<value>.*)$")
_LINES_KEPT = (
    50_000  # of parsed lines that are remembered: most lines of a launch file stand in thousands of them
)
Line = tuple[int, str, str]  # the column of the key, the key, the value


@dataclass(frozen=True)
class Condition:
    """One word of a filter."""

    path: str
    operator: str
    value: str

    def is_about(self, path: str) -> bool:
        """Whether the condition speaks of this dotted path, or of its end: `lr` finds `train.lr`."""
        return path in (self.path, f"config.{self.path}") or path.endswith(f".{self.path}")

    def holds_for(self, value: str) -> bool:
        """Whether one value fulfils the condition; `!=` is asked as `=`, see `LeafTable.matches`."""
        operator = "=" if self.operator == "!=" else self.operator
        return _compare_texts(value, operator, self.value)


def parse_conditions(text: str) -> tuple[tuple[Condition, ...], str]:
    """The conditions, and a sentence about the first word that is none."""
    conditions = []
    for word in text.split():
        found = _CONDITION.match(word)
        if not found:
            return (), f"'{word}' is not a condition: write key=value, key>value or key!=value."
        conditions.append(Condition(*found.groups()))
    return tuple(conditions), ""


class LeafTable:
    """The different (path, value) pairs of all launch files that were read, each with a number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._lines: dict[str, Line | None] = {}
        self._asked: dict[Condition, tuple[int, set[int], set[int]]] = {}

    def add_launch(self, text: str) -> array:
        """The numbers of the pairs of one launch file, in their order."""
        if len(self._lines) > _LINES_KEPT:
            self._lines.clear()
        numbers = self._numbers
        return array("I", [numbers.setdefault(pair, len(numbers)) for pair in walk_leaves(text, self._lines)])

    def matches(self, launch: array, condition: Condition) -> bool:
        """Whether a run fulfils a condition; `!=` wants the setting to be there and to have no such value."""
        about, holding = self._ask_pairs(condition)
        if condition.operator == "!=":
            return not about.isdisjoint(launch) and holding.isdisjoint(launch)
        return not holding.isdisjoint(launch)

    def has_tag(self, launch: array, tag: str) -> bool:
        """Whether a run was started with this very tag."""
        return self._numbers.get(("tags", tag), -1) in launch

    def values_at(self, launch: array, path: str) -> list[str]:
        """The values of a run at a path, or at paths that end in it."""
        asked = Condition(path, "!=", "")
        about, _ = self._ask_pairs(asked)
        pairs = list(self._numbers)
        return [pairs[number][1] for number in launch if number in about]

    def _ask_pairs(self, condition: Condition) -> tuple[set[int], set[int]]:
        """Numbers of the pairs that a condition is about, and of those that fulfil it; only new pairs are looked at."""
        seen, about, holding = self._asked.setdefault(condition, (0, set(), set()))
        if seen < len(self._numbers):
            for number, (path, value) in enumerate(list(self._numbers)[seen:], seen):
                if condition.is_about(path):
                    about.add(number)
                    if condition.holds_for(value):
                        holding.add(number)
            if len(self._asked) > 200:  # visitors type: what they asked long ago is asked anew
                self._asked.clear()
            self._asked[condition] = (len(self._numbers), about, holding)
        return about, holding


def walk_leaves(text: str, parsed: dict[str, Line | None] | None = None) -> Iterator[tuple[str, str]]:
    """(dotted path, scalar) of block-style YAML; the items of a list share the path of the list.

    `parsed` remembers lines between files; the seal, which no two files share, is passed over.
    """
    parsed = {} if parsed is None else parsed
    above: list[tuple[int, str]] = []  # (column, dotted path) of the mappings around the line
    for line in text.splitlines():
        if line.startswith("seal: "):
            continue
        known = parsed[line] if line in parsed else parsed.setdefault(line, _parse_line(line))
        if known is None:
            continue
        depth, key, value = known
        while above and above[-1][0] >= depth:
            above.pop()
        path = f"{above[-1][1]}.{key}" if above and key else above[-1][1] if above else key
        if value:
            yield path, value
        elif key:
            above.append((depth, path))


def _parse_line(line: str) -> Line | None:
    found = _LINE.match(line)
    if not found or not line.strip():
        return None
    raw = found["value"].strip()
    return (
        len(found["indent"]) + len(found["dash"]),
        (found["key"] or "").strip(),
        raw.strip("'\"") if raw else "",
    )


def _number_or_none(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _are_equal(a: str, b: str) -> bool:
    x, y = _number_or_none(a), _number_or_none(b)
    return x == y if x is not None and y is not None else a == b


def _compare_texts(found: str, operator: str, wanted: str) -> bool:
    if operator == "=":
        return _are_equal(found, wanted)
    x, y = _number_or_none(found), _number_or_none(wanted)
    if x is None or y is None:
        return False
    return {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[operator]
