"""Is a series of checkpoints what its names say? Equal contents, strangers, wrong order, a step 0 that is none.

Public suites are uploaded by scripts over weeks, and a script that names the wrong folder leaves a series whose curves are smooth and
whose finds are gone. The audit compares a few thousand sampled weights of each checkpoint with those of all others.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from digsite.track.core import series_path
from digsite.track.judge.series_headers import SeriesFinding, check_headers, name_steps
from digsite.track.subjects.checkpoint_prints import CheckpointPrint

FEW = 200  # sampled weights: below, two strangers are alike by chance
STATISTICS = (
    "running_mean",
    "running_var",
    "num_batches_tracked",
)  # of BatchNorm: norms of hundreds, no weights
TIE = 0.2  # of a typical link: costs of two places that differ by less do not tell them apart
FLAT = 1e-3  # relative spread of a scale or bias vector that is still at its start


@dataclass(frozen=True)
class SeriesAudit:
    """The verdict over a series: findings, and the steps that an analysis should use or leave out."""

    steps: tuple[int, ...]
    findings: tuple[SeriesFinding, ...]
    sampled: int = 0

    @property
    def left_out(self) -> tuple[int, ...]:
        """Steps named by a finding that is "wrong"."""
        return tuple(sorted({s for f in self.findings if f.severity == "wrong" for s in f.steps}))

    @property
    def kept(self) -> tuple[int, ...]:
        """Steps that can be used."""
        bad = set(self.left_out)
        return tuple(step for step in self.steps if step not in bad)

    def verdict(self) -> str:
        """One sentence."""
        n, bad = len(self.steps), self.left_out
        doubts = sum(f.severity == "doubt" for f in self.findings)
        more = f"; {doubts} doubt{'s' if doubts > 1 else ''} to look at" if doubts else ""
        if not bad:
            return f"{n} checkpoints, nothing is wrong with the series{more}."
        return f"{len(bad)} of {n} checkpoints are not what their names say and are left out{more}."

    def lines(self) -> list[str]:
        """For the terminal: what was found, the gravest first, then the verdict."""
        order = {"wrong": 0, "doubt": 1, "note": 2}
        shown = sorted(self.findings, key=lambda f: order[f.severity])
        return [*(f"{f.severity:<6} {f.kind}: {f.what}" for f in shown), f"audit: {self.verdict()}"]

    def as_json(self) -> dict[str, object]:
        """For a file beside the analysis."""
        rows = [f.row() for f in self.findings]
        return {
            "verdict": self.verdict(),
            "left_out": list(self.left_out),
            "findings": rows,
            "steps": list(self.steps),
        }


def audit_series(prints: Sequence[CheckpointPrint]) -> SeriesAudit:
    """Judge checkpoints by their prints, given in the order in which they were listed.

    prints: of one series, as `read_prints` makes them. What is wrong by its header is not compared further; copies are
    taken out before the path is looked at, since a path with many copies of one point has no shape.
    """
    findings = list(_listed_order(prints))
    ordered = sorted(prints, key=lambda p: p.step)
    findings += check_headers(ordered)
    bad = {s for f in findings if f.severity == "wrong" for s in f.steps}
    good = [p for p in ordered if p.step not in bad and not p.problem]
    sampled = sum(v.size for v in good[0].values.values()) if good else 0
    if len(good) >= 2:
        contents = list(compare_contents(good))
        copies = {s for f in contents if f.severity == "wrong" for s in f.steps}
        rest = [p for p in good if p.step not in copies]
        findings += contents + (list(check_path(rest)) if len(rest) >= 4 else [])
        gone = {s for f in findings if f.severity == "wrong" for s in f.steps}
        if ordered[0].step == 0 and 0 not in gone:
            findings += check_start(good[0])
    return SeriesAudit(tuple(p.step for p in ordered), tuple(findings), sampled)


def _listed_order(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """References can be listed in any order; that they were not in the order of their steps is worth a line."""
    steps = [p.step for p in prints]
    back = [b for a, b in itertools.pairwise(steps) if b < a]
    if back:
        yield SeriesFinding(
            "order", "note", tuple(back), f"the list goes back at {name_steps(back)}; it was sorted"
        )


def compare_contents(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """Steps that hold the same weights, whole or in part; the one that fits in its place is not accused."""
    digests = [_tensor_digests(p) for p in prints]
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, own in enumerate(digests):
        groups[tuple(own.values())].append(i)
    equal = [g for g in groups.values() if len(g) > 1]
    if len(groups) == 1:
        steps = [p.step for p in prints]
        yield SeriesFinding(
            "equal content", "doubt", tuple(steps), "all checkpoints hold the same weights: nothing moves"
        )
        return
    rows = scaled_rows(prints)
    distances = series_path.pairwise_distances(rows)
    copied = {i for g in equal for i in g}
    again = _repeated_stretch(equal)
    if again:
        yield _stretch_finding(prints, again)
    for group in equal if not again else ():
        genuine = choose_genuine(distances, group, copied)
        yield _copies_finding(prints, group, genuine)
    yield from _partial_copies(prints, digests, copied)


STRETCH = 4  # checkpoints in a row that come twice, from which it is one stretch and not single copies


def _repeated_stretch(groups: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """(first, second) places of a stretch of the series that comes twice, in order, and nothing else does; else nothing."""
    pairs = [(g[0], g[1]) for g in groups]
    in_order = all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(sorted(pairs)))
    if len(pairs) < STRETCH or any(len(g) != 2 for g in groups) or not in_order:
        return []
    return sorted(pairs) if max(a for a, _ in pairs) < min(b for _, b in pairs) else []


def _stretch_finding(prints: Sequence[CheckpointPrint], pairs: Sequence[tuple[int, int]]) -> SeriesFinding:
    """A run that was resumed or uploaded twice; the first time is believed, as a series begins at its start."""
    steps = tuple(prints[b].step for _, b in pairs)
    first = name_steps([prints[a].step for a, _ in pairs])
    text = (
        f"{name_steps(steps)} hold the weights of {first} again, in the same order: the series starts again"
    )
    return SeriesFinding("equal content", "wrong", steps, text)


def _tensor_digests(checkpoint: CheckpointPrint) -> dict[str, str]:
    """A hash per tensor of the sampled values."""
    return {
        name: hashlib.blake2b(v.tobytes(), digest_size=8).hexdigest()
        for name, v in sorted(checkpoint.values.items())
    }


def choose_genuine(distances: np.ndarray, group: Sequence[int], copied: set[int]) -> int | None:
    """Which of several equal checkpoints is in its own place: where the way over it is shortest; None for a tie.

    distances: of all pairs in step order. group: indices that hold one content. copied: all indices in such groups;
    only the others can vouch for a place. In a tie the last checkpoint is believed: what is uploaded under wrong names is the
    folder of the finished model.
    """
    singles = [i for i in range(len(distances)) if i not in copied]
    if len(singles) < 2:
        return None
    costs = []
    for at in group:
        before, after = [s for s in singles if s < at], [s for s in singles if s > at]
        if before and after:
            a, b = before[-1], after[0]
            costs.append(distances[a, at] + distances[at, b] - distances[a, b])
        else:
            (near, next_) = (before[-1], before[-2:][0]) if before else (after[0], after[:2][-1])
            # One link beyond the end is expected to be as long as the last one; only the excess is a detour.
            costs.append(2 * max(distances[near, at] - distances[near, next_], 0.0))
    best, second = np.argsort(costs)[:2]
    scale = max(float(np.median(distances[singles[:-1], singles[1:]])), 1e-300)
    if costs[second] - costs[best] > TIE * scale:
        return group[int(best)]
    last = group[-1] == len(distances) - 1 and costs[-1] - costs[best] <= TIE * scale
    return group[-1] if last else None


def _copies_finding(
    prints: Sequence[CheckpointPrint], group: Sequence[int], genuine: int | None
) -> SeriesFinding:
    """Equal contents under several steps."""
    steps = [prints[i].step for i in group]
    if genuine is None:
        text = f"{name_steps(steps)} hold the same weights, and which of them is in its place cannot be told"
        return SeriesFinding("equal content", "wrong", tuple(steps), text)
    own = prints[genuine].step
    others = [s for s in steps if s != own]
    holds = "holds" if len(others) == 1 else "hold"
    return SeriesFinding(
        "equal content", "wrong", tuple(others), f"{name_steps(others)} {holds} the weights of step {own:,}"
    )


def _partial_copies(
    prints: Sequence[CheckpointPrint], digests: Sequence[dict[str, str]], copied: set[int]
) -> Iterator[SeriesFinding]:
    """Tensors (a shard) of another step: equal at two steps and different between them."""
    shared: dict[tuple[int, int], list[str]] = defaultdict(list)
    left = [i for i in range(len(prints)) if i not in copied]
    for name in digests[left[0]] if left else ():
        if len(set(prints[left[0]].values[name].tolist())) < 8:
            continue
        seen: dict[str, int] = {}
        for i in (i for i in left if name in digests[i]):
            own = digests[i][name]
            if own in seen and any(digests[k].get(name, own) != own for k in left if seen[own] < k < i):
                shared[seen[own], i].append(name)
            seen[own] = i
    for (a, b), names in shared.items():
        own = [replace(p, values={name: p.values[name] for name in names}) for p in prints]
        distances = series_path.pairwise_distances(scaled_rows(own))
        genuine = choose_genuine(distances, [a, b], copied | {a, b})
        steps = tuple(prints[i].step for i in (a, b) if i != genuine)
        text = (
            f"{len(names)} of {len(digests[a])} tensors are equal at steps {prints[a].step:,} and {prints[b].step:,} and not "
            f"between them, the first is '{names[0]}'"
        )
        if genuine is not None:
            text += f"; they belong to step {prints[genuine].step:,}"
        yield SeriesFinding("partly equal", "wrong", steps, text)


def scaled_rows(prints: Sequence[CheckpointPrint]) -> np.ndarray:
    """Sampled weights of all checkpoints as rows (checkpoints, values), each tensor in units of its own size.

    prints: of one series. Tensors that are not in all of them, running statistics and vectors that hold one value are
    left out; without them, what is left is as long as the series has anything in common.
    """
    names = [
        n
        for n in prints[0].values
        if all(n in p.values and p.values[n].size == prints[0].values[n].size for p in prints)
        and not n.endswith(STATISTICS)
    ]
    parts = []
    for name in names:
        stacked = np.stack([p.values[name] for p in prints])
        size = float(np.sqrt(np.mean(stacked.astype(np.float64) ** 2)))
        if size > 0:
            parts.append(stacked / size)
    return np.concatenate(parts, 1) if parts else np.zeros((len(prints), 0))


def check_path(prints: Sequence[CheckpointPrint]) -> Iterator[SeriesFinding]:
    """Strangers, exchanged steps, a second run, a second start: what the distances between contents say."""
    rows = scaled_rows(prints)
    if rows.shape[1] == 0:
        return
    related = relate_rows(rows)
    if rows.shape[1] >= FEW:
        groups = series_path.split_runs(related)
        if len(groups) > 1:
            yield from _two_runs(prints, groups)
            keep = groups[0]
            prints, rows, related = [prints[i] for i in keep], rows[keep], related[np.ix_(keep, keep)]
    distances = series_path.pairwise_distances(rows)
    off = series_path.find_off_path(distances)
    yield from _off_path(prints, off, distances)
    on = [i for i in range(len(prints)) if i not in {o.index for o in off}]
    inner = distances[np.ix_(on, on)]
    moved = [i for i, own in enumerate(series_path.sort_path(inner)) if i != own]
    if moved:
        steps = tuple(prints[on[i]].step for i in moved)
        yield SeriesFinding("exchanged", "wrong", steps, f"{name_steps(steps)} are in the wrong order")
    for i, ratio in series_path.find_near_equals(inner):
        a, b = prints[on[i - 1]].step, prints[on[i]].step
        text = f"steps {a:,} and {b:,} are nearly equal: their link is {ratio:.1%} of those around"
        yield SeriesFinding("near equality", "doubt", (a, b), text)
    if rows.shape[1] >= FEW:
        for end, why in series_path.find_loose_ends(inner, related[np.ix_(on, on)]):
            step = prints[on[end]].step
            yield SeriesFinding("off the path", "wrong", (step,), f"step {step:,} {why}")
    back = series_path.find_restart(inner)
    if back is not None:
        a, b, k = (prints[on[i]].step for i in (back[0], back[0] + 1, back[1]))
        yield SeriesFinding(
            "restart",
            "doubt",
            (b,),
            f"after step {a:,} the series starts again: step {b:,} is near step {k:,}",
        )


def relate_rows(rows: np.ndarray) -> np.ndarray:
    """Correlations (n, n) of sampled weights, without the coordinates that hardly differ from one common value.

    rows: (checkpoints, values). Scales that start at one and biases that start at zero make strangers alike.
    """
    moving = np.abs(rows - np.round(rows.mean(0))).mean(0) > 0.05
    chosen = rows[:, moving].astype(np.float64)
    norms = np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-300)
    return (chosen / norms) @ (chosen / norms).T


def _two_runs(prints: Sequence[CheckpointPrint], groups: list[list[int]]) -> Iterator[SeriesFinding]:
    """Files of two trainings in one folder."""
    own = [prints[i].step for i in groups[0]]
    for group in groups[1:]:
        steps = [prints[i].step for i in group]
        text = f"{name_steps(steps)} are of another run than {name_steps(own)}: their weights have nothing in common"
        yield SeriesFinding("another run", "wrong", tuple(steps), text)


def _off_path(
    prints: Sequence[CheckpointPrint], off: Sequence[series_path.OffPath], distances: np.ndarray
) -> Iterator[SeriesFinding]:
    """One line per checkpoint; two that would fit in each other's place are exchanged."""
    by_index = {stray.index: stray for stray in off}
    done: set[int] = set()
    for stray in off:
        if stray.index in done:
            continue
        partner = next(
            (o for o in off if o.index != stray.index and _in_place(stray, o) and _in_place(o, stray)), None
        )
        neighbor = (
            stray.place
            if stray.place == stray.index + 1
            else stray.index - 1
            if stray.place == stray.index - 2
            else None
        )
        if partner is not None or neighbor is not None:
            other = partner.index if partner is not None else neighbor
            assert other is not None
            done |= {stray.index, other}
            pair = tuple(sorted((prints[stray.index].step, prints[other].step)))
            yield SeriesFinding(
                "exchanged", "wrong", pair, f"steps {pair[0]:,} and {pair[1]:,} fit in each other's place"
            )
        else:
            yield _stray_finding(
                prints, stray, distances, [i for i in range(len(prints)) if i not in by_index]
            )


def _in_place(stray: series_path.OffPath, other: series_path.OffPath) -> bool:
    """Whether one would fit where the other stands; a gap beside it may have been taken out as well."""
    return stray.place is not None and other.index - 2 <= stray.place <= other.index


def _stray_finding(
    prints: Sequence[CheckpointPrint],
    stray: series_path.OffPath,
    distances: np.ndarray,
    others: Sequence[int],
) -> SeriesFinding:
    """One checkpoint off the path."""
    step = prints[stray.index].step
    twin = series_path.find_twin(distances, stray.index, others)
    if twin is not None:
        text = f"step {step:,} holds nearly the weights of step {prints[twin].step:,}"
        return SeriesFinding("near equality", "wrong", (step,), text)
    where = "fits nowhere" if stray.place is None else f"fits better after step {prints[stray.place].step:,}"
    text = (
        f"step {step:,} is off the path of its neighbors: the way over it is {stray.ratio:.1f} times the way past it, "
        f"{stray.typical:.1f} around it; it {where}"
    )
    return SeriesFinding("off the path", "wrong", (step,), text)


def check_start(checkpoint: CheckpointPrint) -> Iterator[SeriesFinding]:
    """A step 0 that has learned: the scales of its normalizations are not one value.

    one: the print of step 0. Matrices and biases can start by any law; scales start at one value in every library, and
    no optimizer leaves them there. A step 0 without scales is judged by the path alone.
    """
    scales = {
        name: v
        for name, v in checkpoint.values.items()
        if len(checkpoint.shapes[name]) == 1
        and name.endswith("weight")
        and v.size >= 8
        and not name.endswith(STATISTICS)
    }
    learned = [n for n, v in scales.items() if float(v.std()) > FLAT * float(np.abs(v).max())]
    if learned:
        text = f"step 0 is no start: {len(learned)} of {len(scales)} scales hold learned values, the first is '{learned[0]}'"
        yield SeriesFinding("no start", "wrong", (0,), text)
