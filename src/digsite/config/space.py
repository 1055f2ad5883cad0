"""Sweep spaces: `seed=0..4 lr=1e-3,1e-4 wd=log(1e-6,1e-2)` or a YAML file of `values:`, as points of dotted paths."""

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from digsite.base import streams
from digsite.base.errors import UsageError
from digsite.base.stored import is_text
from digsite.config import yamlio

Point = dict[str, Any]
LIMIT = 100_000  # more run directories than this is a typing error, not an experiment
_RANGE = re.compile(r"^(-?\d{1,18})\.\.(-?\d{1,18})$", re.ASCII)
_DRAWN = re.compile(r"^(log|uniform)\(([^,()]+),([^,()]+)\)$")


@dataclass(frozen=True)
class Drawn:
    """A value drawn anew for every sample, uniformly or log-uniformly."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: random.Random) -> float:
        if self.log:
            return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True)
class Space:
    """A grid over listed values; drawn values are sampled `samples` times at every grid point."""

    values: dict[str, Sequence[Any]]
    drawn: dict[str, Drawn]
    samples: int = 1
    seed: int = 0

    @property
    def size(self) -> int:
        return math.prod(map(_count_values, self.values.values())) * (self.samples if self.drawn else 1)

    def points(self) -> Iterator[Point]:
        """Every point, the last key moving fastest; draws depend on (seed, index) alone."""
        self.check()
        repeats = self.samples if self.drawn else 1
        for index, chosen in enumerate(itertools.product(*self.values.values())):
            for repeat in range(repeats):
                rng = random.Random(streams.derive_seed(self.seed, "sweep", index, repeat))
                drawn = {path: source.draw(rng) for path, source in self.drawn.items()}
                yield {**dict(zip(self.values, chosen, strict=True)), **drawn}

    def check(self) -> None:
        empty = [path for path, values in self.values.items() if not _count_values(values)]
        if not 0 < self.samples <= LIMIT:
            raise UsageError(f"{self.samples} samples cannot be drawn; take 1 to {LIMIT:,}.")
        if empty or not (self.values or self.drawn):
            named = f" '{empty[0]}' has no values." if empty else ""
            raise UsageError(f"The grid is empty.{named}", hint="Write key=v1,v2 or seed=0..4.")
        if self.size > LIMIT:
            raise UsageError(
                f"The sweep has {self.size:,} combinations; at most {LIMIT:,} are planned at once.",
                hint="Sweep fewer values, or draw samples: key=log(low,high) --samples N.",
            )


def _count_values(values: Sequence[Any]) -> int:
    """How many values there are; a range may be longer than any list."""
    return max(0, values.stop - values.start) if isinstance(values, range) else len(values)


def from_words(words: Sequence[str], *, samples: int = 1, seed: int = 0) -> Space:
    """The space that `key=values` words describe."""
    values: dict[str, Sequence[Any]] = {}
    drawn: dict[str, Drawn] = {}
    for word in words:
        path, equals, text = word.partition("=")
        if not equals or not path or not is_text(word):
            raise UsageError(f"{word[:80]!a} is not a sweep setting.", hint="Write key=v1,v2 or seed=0..4.")
        source = _read_source(path, text)
        if isinstance(source, Drawn):
            drawn[path] = source
        else:
            values[path] = source
    return Space(values, drawn, samples, seed)


def _read_source(path: str, text: str) -> Sequence[Any] | Drawn:
    if match := _RANGE.match(text):
        first, last = map(int, match.groups())
        return range(first, last + 1)  # not a list: a billion of them is refused before it is made
    if match := _DRAWN.match(text):
        return drawn_from(path, match[1] == "log", match[2], match[3])
    return yamlio.parse_yaml(f"[{text}]", where=f"The values of '{path}'")


def drawn_from(path: str, log: bool, low: Any, high: Any) -> Drawn:
    try:
        source = Drawn(float(low), float(high), log)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"'{path}' needs two numbers to draw between, not {low!r} and {high!r}.") from None
    if not (math.isfinite(source.low) and math.isfinite(source.high)):
        raise UsageError(f"'{path}' needs two finite numbers to draw between, not {low!r} and {high!r}.")
    if not source.low < source.high or (log and source.low <= 0):
        raise UsageError(f"'{path}' cannot be drawn between {source.low:g} and {source.high:g}.")
    return source


def from_tree(tree: Mapping[str, Any], *, samples: int = 1, seed: int = 0) -> Space:
    """The space of one block of a sweep file: leaves are `{values: [...]}` or `{distribution, min, max}`."""
    values: dict[str, Sequence[Any]] = {}
    drawn: dict[str, Drawn] = {}
    for path, leaf in _leaf_values(tree):
        if "values" in leaf:
            listed = leaf["values"] or []
            if not isinstance(listed, list):
                raise UsageError(f"'{path}' has {listed!r:.60} for its values, which must be a list.")
            values[path] = listed
        elif "value" in leaf:
            values[path] = [leaf["value"]]
        else:
            log = "log" in str(leaf.get("distribution", "uniform"))
            drawn[path] = drawn_from(path, log, leaf.get("min"), leaf.get("max"))
    return Space(values, drawn, samples, seed)


def _leaf_values(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, node in tree.items():
        path = f"{prefix}{key}"
        if not isinstance(node, Mapping):
            yield path, {"value": node}
        elif node.keys() & {"values", "value", "min", "distribution"}:
            yield path, node
        else:
            yield from _leaf_values(node, f"{path}.")
