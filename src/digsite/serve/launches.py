"""Settings and claims of many runs in memory: filters on pinned configs such as `lr>0.01 data.name=mnist`, columns of a list.

Settings are read from the text of launch.yaml. A YAML parser takes 3 ms a file, 60 s for 20,000 runs. The files are written by us in one plain style, so a walk over their
lines is enough here. A pinned file never changes, and runs share most of their settings: every different (path, value) is kept
once, a run is an array of their numbers (160 bytes for forty settings), and a condition is asked of each different pair and not
of each run.
"""

import re
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from digsite.base import stored

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
        match = _CONDITION.match(word)
        if not match or (match[2] not in ("=", "!=") and _number_or_none(match[3]) is None):
            return (), f"'{word}' is not a condition: write key=value, key>number or key!=value."
        conditions.append(Condition(*match.groups()))
    return tuple(conditions), ""


class LeafTable:
    """The different (path, value) pairs of all launch files that were read, each with a number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._pairs: list[tuple[str, str]] = []  # by number; read up to a length, so that a thread may add
        self._lines: dict[str, Line | None] = {}
        self._asked: dict[Condition, tuple[int, set[int], set[int]]] = {}

    def add_launch(self, text: str) -> array:
        """The numbers of the pairs of one launch file, in their order."""
        if len(self._lines) > _LINES_KEPT:
            self._lines.clear()
        return array("I", [self._number_of(pair) for pair in walk_leaves(text, self._lines)])

    def _number_of(self, pair: tuple[str, str]) -> int:
        number = self._numbers.get(pair)
        if number is None:
            number = self._numbers[pair] = len(self._pairs)
            self._pairs.append(pair)
        return number

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
        about, _ = self._ask_pairs(Condition(path, "!=", ""))
        return [self._pairs[number][1] for number in launch if number in about]

    def pairs_of(self, launch: array) -> list[tuple[str, str]]:
        """Every (path, value) of a run."""
        return [self._pairs[number] for number in launch]

    def numbers_naming(self, text: str) -> set[int]:
        """Numbers of the pairs whose value speaks of `text`, the id of a run say."""
        return {number for number, (_, value) in enumerate(self._pairs) if text in value}

    def _ask_pairs(self, condition: Condition) -> tuple[set[int], set[int]]:
        """Numbers of the pairs that a condition is about, and of those that fulfil it; only new pairs are looked at."""
        seen, about, holding = self._asked.setdefault(condition, (0, set(), set()))
        if seen < len(self._pairs):
            for number, (path, value) in enumerate(self._pairs[seen:], seen):
                if condition.is_about(path):
                    about.add(number)
                    if condition.holds_for(value):
                        holding.add(number)
            if len(self._asked) > 200:  # visitors type: what they asked long ago is asked anew
                self._asked.clear()
            self._asked[condition] = (len(self._pairs), about, holding)
        return about, holding


_LISTS = ("claims", "measurements")  # of a results file


class ClaimTable:
    """Values of the claims of runs that somebody asked for: results are read once, and kept as names and numbers."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, dict[str, float]]] = {}

    def values_of(self, key: str, results: Path, stamp: int) -> dict[str, float]:
        """Claim -> value of one run; `stamp` tells whether the run has changed since it was read."""
        known = self._known.get(key)
        if known is None or known[0] != stamp:
            known = self._known[key] = (stamp, _read_values(results))
        return known[1]


def _read_values(results: Path) -> dict[str, float]:
    """Names and finite values of the claims in a results file, without looking at the rest of it."""
    raw = stored.read_json(results, kind=dict)
    lists = [raw.get(key) for key in _LISTS] if isinstance(raw, dict) else []
    values = {}
    for claim in (claim for claims in lists if isinstance(claims, list) for claim in claims):
        if isinstance(claim, dict) and isinstance(name := claim.get("name"), str):
            value = stored.finite_number(claim.get("value"))
            if value is not None:
                values[sys.intern(name)] = float(value)  # thousands of runs share their names
    return values


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
    match = _LINE.match(line)
    if not match or not line.strip():
        return None
    raw = match["value"].strip()
    return (
        len(match["indent"]) + len(match["dash"]),
        (match["key"] or "").strip(),
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


def _compare_texts(text: str, operator: str, wanted: str) -> bool:
    if operator == "=":
        return _are_equal(text, wanted)
    x, y = _number_or_none(text), _number_or_none(wanted)
    if x is None or y is None:
        return False
    return {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[operator]
