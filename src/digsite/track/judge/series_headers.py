"""What headers and side files say against a series of checkpoints: shapes, dtypes, settings, counters, gaps, NaN."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from digsite.track.subjects.checkpoint_prints import CheckpointPrint

Severity = Literal["wrong", "doubt", "note"]
Key = TypeVar("Key", bound=Hashable)
STEP_FACTS = ("step", "global_step", "iteration", "training_step", "num_steps", "epoch_step")
RATE_FACTS = ("lr", "learning_rate")
MAJORITY = 0.6  # of the checkpoints: a fact on which so many agree is a setting of the run


@dataclass(frozen=True)
class SeriesFinding:
    """One thing that speaks against a series: of which kind, how grave, at which steps, in one sentence.

    "wrong" steps are left out of the analysis, "doubt" is for the user to judge, "note" is about the schedule.
    """

    kind: str
    severity: Severity
    steps: tuple[int, ...]
    what: str

    def row(self) -> dict[str, object]:
        """For JSON and tables."""
        return {"kind": self.kind, "severity": self.severity, "steps": list(self.steps), "what": self.what}


def check_headers(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """Everything that can be said without comparing weights, of readable checkpoints in step order."""
    yield from _find_unread(prints)
    readable = [p for p in prints if not p.problem]
    if len(readable) < 2:
        return
    yield from _find_odd_tensors(readable)
    yield from _find_gaps(readable)
    yield from _find_counters(readable)
    yield from _find_odd_settings(readable)
    yield from _find_rate_restarts(readable)
    yield from check_gaps([p.step for p in prints])


def name_steps(steps: Sequence[int], most: int = 6) -> str:
    """`step 3`, `steps 3, 5 and 9`, or the first of many with their number."""
    texts = [f"{s:,}" for s in steps]
    if len(texts) == 1:
        return f"step {texts[0]}"
    if len(texts) <= most:
        return f"steps {', '.join(texts[:-1])} and {texts[-1]}"
    return f"steps {', '.join(texts[: most - 1])} and {len(texts) - most + 1} more"


def _find_unread(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """Missing shards, cut files, silent hubs: one line per reason."""
    reasons: dict[str, list[int]] = defaultdict(list)
    for checkpoint in prints:
        if checkpoint.problem:
            reasons[checkpoint.problem.replace(checkpoint.name, "...")].append(checkpoint.step)
    for reason, steps in reasons.items():
        yield SeriesFinding("unreadable", "wrong", tuple(steps), f"{name_steps(steps)}: {reason}")


def _majority_value(values: Mapping[int, Key]) -> Key | None:
    """What most steps say, if enough of them agree."""
    (value, count), *_ = Counter(values.values()).most_common(1)
    return value if count >= MAJORITY * len(values) and count >= 2 else None


def _find_odd_tensors(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """Tensors that come, go, or change shape or dtype, against the majority."""
    counts = Counter(name for p in prints for name in p.shapes)
    usual = [name for name, n in counts.items() if n > len(prints) / 2]
    lacking: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for checkpoint in prints:
        gone = tuple(name for name in usual if name not in checkpoint.shapes)
        if gone:
            lacking[gone].append(checkpoint.step)
    for gone, steps in lacking.items():
        verb = "lacks" if len(steps) == 1 else "lack"
        text = f"{name_steps(steps)} {verb} {len(gone)} of {len(usual)} tensors, the first is '{gone[0]}'"
        yield SeriesFinding("missing tensors", "wrong", tuple(steps), text)
    yield from _find_partial_tensors(prints, [name for name in counts if name not in usual])
    yield from _odd_ones(
        prints, {n: {p.step: p.shapes[n] for p in prints if n in p.shapes} for n in usual}, "shape"
    )
    yield from _odd_ones(
        prints, {n: {p.step: p.dtypes[n] for p in prints if n in p.dtypes} for n in usual}, "dtype"
    )


def _find_partial_tensors(prints: Sequence[CheckpointPrint], names: Sequence[str]) -> Iterator[SeriesFinding]:
    """Tensors that at most half of the checkpoints hold: one that goes half way, or is added. What is left can be compared."""
    holders: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in names:
        holders[tuple(p.step for p in prints if name in p.shapes)].append(name)
    for steps, held in holders.items():
        which = f"'{held[0]}' is" if len(held) == 1 else f"{len(held)} tensors, the first '{held[0]}', are"
        text = f"{which} in {len(steps)} of {len(prints)} checkpoints alone: {name_steps(steps)}"
        yield SeriesFinding("missing tensors", "doubt", steps, text)


def _odd_ones(
    prints: Sequence[CheckpointPrint], said: Mapping[str, Mapping[int, Hashable]], fact: str
) -> Iterator[SeriesFinding]:
    """Steps whose tensors are of another shape or dtype than those of most steps."""
    odd: dict[tuple[Hashable, Hashable], dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, values in said.items():
        usual = _majority_value(values)
        for step, value in values.items():
            if usual is not None and value != usual:
                odd[usual, value][step].append(name)
            elif usual is None and value != (first := next(iter(values.values()))):
                odd[first, value][step].append(name)
    for (usual, value), steps in odd.items():
        name = next(iter(steps.values()))[0]
        severity: Severity = "wrong" if fact == "shape" else "doubt"
        text = f"'{name}' is {_show_value(value)} at {name_steps(list(steps))} and {_show_value(usual)} elsewhere"
        yield SeriesFinding(f"another {fact}", severity, tuple(steps), text)


def _show_value(value: Hashable) -> str:
    """A shape as people write it."""
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _find_gaps(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """NaN in the sampled weights."""
    for checkpoint in prints:
        bad = [name for name, v in checkpoint.values.items() if not np.isfinite(v).all()]
        if bad:
            text = f"step {checkpoint.step:,} holds NaN or infinity in {len(bad)} of {len(checkpoint.values)} tensors, first in '{bad[0]}'"
            yield SeriesFinding("not finite", "wrong", (checkpoint.step,), text)


def _find_counters(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """Integer scalars that count (batches seen, optimizer steps) must not go back while the steps go on."""
    names = set.intersection(*(set(p.counters) for p in prints))
    for name in sorted(names):
        values = np.array([p.counters[name] for p in prints])
        if len(set(values.tolist())) < 3:
            continue
        back = np.flatnonzero(np.diff(values) < 0)
        if len(back):
            at = int(back[0])
            text = f"the counter '{name}' goes back from {values[at]:,} to {values[at + 1]:,} at step {prints[at + 1].step:,}"
            yield SeriesFinding("order", "doubt", (prints[at + 1].step,), text)
            return


def _find_odd_settings(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """Config, tokenizer, optimizer: facts that most checkpoints agree on, and those that do not."""
    names = dict.fromkeys(name for p in prints for name in p.facts)
    odd: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in names:
        said = {p.step: p.facts[name] for p in prints if name in p.facts}
        word = name.rpartition(".")[2]
        if word in STEP_FACTS:
            yield from _own_step(said, name)
            continue
        usual = _majority_value(said)
        if usual is None or len(said) < 3:
            continue
        steps = tuple(step for step, value in said.items() if value != usual)
        if steps:
            odd[steps].append(f"{name} is {_shorten_text(said[steps[0]])!r} and not {_shorten_text(usual)!r}")
    for steps, texts in odd.items():
        more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
        yield SeriesFinding("another run", "wrong", steps, f"{name_steps(steps)}: {texts[0]}{more}")


def _shorten_text(text: str) -> str:
    """A setting may be a page."""
    return text if len(text) <= 40 else f"{text[:37]}..."


def _own_step(said: Mapping[int, str], name: str) -> Iterator[SeriesFinding]:
    """A checkpoint that says itself of which step it is."""
    try:
        own = {step: float(value) for step, value in said.items()}
    except ValueError:
        return
    right = [step for step, value in own.items() if value == step]
    wrong = [step for step, value in own.items() if value != step]
    if wrong and len(right) >= len(wrong):
        text = f"{name_steps(wrong)}: the file itself says {name} = {own[wrong[0]]:g}"
        yield SeriesFinding("order", "wrong", tuple(wrong), text)


def _find_rate_restarts(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """A learning rate that had fallen and doubles again: the schedule was restarted."""
    for name in dict.fromkeys(n for p in prints for n in p.facts if n.rpartition(".")[2] in RATE_FACTS):
        try:
            said = [(p.step, float(p.facts[name])) for p in prints if name in p.facts]
        except ValueError:
            continue
        peak = int(np.argmax([rate for _, rate in said])) if said else 0
        for (_, before), (step, after) in zip(said[peak:], said[peak + 1 :]):
            if after > 2 * before > 0:
                text = f"the schedule restarts at step {step:,}: {name} rises from {before:g} to {after:g}"
                yield SeriesFinding("restart", "doubt", (step,), text)


def check_gaps(steps: Sequence[int]) -> Iterator[SeriesFinding]:
    """Holes in the schedule: a gap that is wide beside both of its neighbors, in steps or, where steps grow, as a factor.

    steps: of all checkpoints, in order.
    """
    s = np.asarray(sorted(steps), dtype=float)
    gaps = np.diff(s)
    for i in range(1, len(gaps) - 1):
        if gaps[i] >= 1.9 * max(gaps[i - 1], gaps[i + 1]) and not _grows_logwise(s, i):
            missing = round(gaps[i] / min(gaps[i - 1], gaps[i + 1])) - 1
            text = f"between step {s[i]:,.0f} and {s[i + 1]:,.0f} about {missing} checkpoints are missing"
            yield SeriesFinding("gap", "note", (int(s[i]), int(s[i + 1])), text)
        elif s[i - 1] > 0 and _grows_logwise(s, i) and s[i + 1] / s[i] >= 1.6 * s[i] / s[i - 1]:
            text = f"between step {s[i]:,.0f} and {s[i + 1]:,.0f} the schedule skips"
            yield SeriesFinding("gap", "note", (int(s[i]), int(s[i + 1])), text)


def _grows_logwise(s: np.ndarray, i: int) -> bool:
    """Log-spaced here: the ratios before and after agree and are larger than those of an even grid would be."""
    if i < 2 or i + 2 >= len(s) or s[i - 2] < 8:
        return False
    before, earlier, after = s[i] / s[i - 1], s[i - 1] / s[i - 2], s[i + 2] / s[i + 1]
    return bool(before > 1.1 and abs(before / earlier - 1) < 0.1 and abs(after / before - 1) < 0.1)
