"""From one entry to one row of the table, and from rows to marks.

First of all: does the masked network still answer what the program answers? On all inputs, under five kinds of masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from digsite.base.intervals import exact_share, student_interval
from digsite.decompose.core.masks import Masks, find_used
from digsite.decompose.core.scene import Scene
from digsite.decompose.judge.exam import Entry
from digsite.decompose.judge.exam.parts import GraphScores, UseScores, score_graph, score_parts, score_use

KINDS = ("unmasked", "rounded", "ci", "stochastic", "zero")
DRAWN = {"stochastic"}  # masks that differ from draw to draw
LADDER = (20, 40, 80, 160, 320)
ATTACKED = 128  # inputs that the adversary looks at; what it finds is tried on all inputs


@torch.no_grad()
def share_right(entry: Entry, draws: int = 1) -> dict[str, float]:
    """Share of all inputs whose answer is the program's, by kind of mask; and parts in use per position (`l0`).

    Only parts count: what they leave over (the residual) is switched off in every kind.
    """
    right = dict.fromkeys(KINDS, 0.0)
    inputs = 0.0
    used: dict[str, float] = {}
    places: dict[str, int] = {}
    generator = torch.Generator().manual_seed(0)
    for ids in entry.program.batches(1024):
        scene = entry.observe_inputs(ids)
        wanted = entry.program.wanted(ids)
        inputs += len(ids)
        for site, g in scene.importance.lower.items():
            used[site] = used.get(site, 0.0) + float(find_used(g).sum())
            places[site] = places.get(site, 0) + g[..., 0].numel()
        for kind in KINDS:
            times = draws if kind in DRAWN else 1
            for _ in range(times):
                output = scene.forward(scene.draw_masks(kind, generator=generator, residual=False))
                right[kind] += float(entry.program.is_right(output, wanted).sum()) / times
    per_place = {"l0": sum(used[site] / places[site] for site in used)}
    return {kind: count / inputs for kind, count in right.items()} | per_place


def climb_ladder(entry: Entry, steps: Sequence[int] = LADDER, seed: int = 0) -> dict[int, float]:
    """Share of all inputs right under the worst masks found in so many steps of sign ascent.

    One source per part, shared by every input and position, so that the adversary cannot know the input; the masks are
    g + (1 - g) r. It looks at some inputs of the greatest length and is then tried on the whole domain.
    """
    generator = torch.Generator().manual_seed(seed)
    whole = entry.program.domain[-1]
    ids = whole[torch.randperm(len(whole), generator=generator)[:ATTACKED]]
    with torch.no_grad():
        scene = entry.observe_inputs(ids)
    source = {
        site: torch.rand(g.shape[-1], generator=generator) for site, g in scene.importance.lower.items()
    }
    reached, best, most = {}, source, -1.0
    for step in range(max(steps) + 1):
        slopes, loss = climb_slope(scene, source)
        if loss > most:
            best, most = source, loss
        if step in steps:
            reached[step] = share_right_under(entry, best)
        rate = 0.1 if step < 40 else 0.02
        source = {site: (r + rate * slopes[site].sign()).clamp(0, 1) for site, r in source.items()}
    return reached


def climb_slope(scene: Scene, source: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """Gradient of the distance at these masks, and the distance."""
    free = {site: r.clone().requires_grad_() for site, r in source.items()}
    loss = scene.compare_output(scene.forward(place_between(scene, free)))
    slopes = torch.autograd.grad(loss, list(free.values()), materialize_grads=True)
    return dict(zip(free, slopes, strict=True)), float(loss.detach())


def place_between(scene: Scene, source: dict[str, Tensor]) -> Masks:
    """Masks between importance (source 0) and one (source 1)."""
    return Masks({site: g + (1 - g) * source[site] for site, g in scene.importance.lower.items()})


@torch.no_grad()
def share_right_under(entry: Entry, source: dict[str, Tensor]) -> float:
    """Share of all inputs that are still right under the worst masks that were found."""
    right = total = 0.0
    for ids in entry.program.batches(1024):
        scene = entry.observe_inputs(ids)
        output = scene.forward(place_between(scene, source))
        right += float(entry.program.is_right(output, entry.program.wanted(ids)).sum())
        total += len(ids)
    return right / total


# The worst case itself, where few enough parts are left to choose.
#
# A choice matters only for parts that are active where they are not important. Those are listed, every choice among them is
# tried, and parts that become active under any of these choices join the list until none does. Whatever is done to the
# others then moves no site's output by more than a trace.

STIRS = 1e-4  # share of a site's largest output below which a part counts as not active


@torch.no_grad()
def try_every_mask(entry: Entry, most: int) -> float:
    """Share of all inputs right under the worst of all masks of zeros and ones, shared by every input and position.

    NaN where more than `most` parts are left to choose. The ladder's masks may lie between zero and one, so either of the
    two may be the worse.
    """
    sites = entry.program.sites
    listed = {site: torch.zeros(entry.decomposition.components(site).V.shape[1]).bool() for site in sites}
    while sum(int(these.sum()) for these in listed.values()) <= most:
        worst, active = try_choices(entry, listed)
        if not any((active[site] & ~listed[site]).any() for site in sites):
            return worst
        listed = {site: listed[site] | active[site] for site in sites}
    return math.nan


def try_choices(entry: Entry, listed: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    """The smallest share of inputs right over all choices among the listed parts, and which parts were ever active where
    they are not important. Parts that are not listed stay at their importance."""
    places = [(site, c) for site, these in listed.items() for c in these.nonzero().flatten().tolist()]
    choices = list(product((0.0, 1.0), repeat=len(places)))
    right = torch.zeros(len(choices))
    active = {site: torch.zeros_like(these) for site, these in listed.items()}
    for ids in entry.program.batches(1024):
        scene = entry.observe_inputs(ids)
        wanted = entry.program.wanted(ids)
        for k, choice in enumerate(choices):
            source = {site: torch.zeros(len(these)) for site, these in listed.items()}
            for (site, c), on in zip(places, choice, strict=True):
                source[site][c] = on
            inner: dict[str, Tensor] = {}
            output = scene.forward(place_between(scene, source), inner=inner)
            right[k] += float(entry.program.is_right(output, wanted).sum())
            for site, acts in inner.items():
                active[site] |= find_stirring(scene, site, acts)
    return float(right.min()) / sum(len(ids) for ids in entry.program.domain), active


def find_stirring(scene: Scene, site: str, acts: Tensor) -> Tensor:
    """(C,) whether a part puts out more than a trace at any place where it is not wholly important."""
    written = acts.abs() * scene.factors[site][1].norm(dim=1)
    trace = STIRS * float(scene.outputs[site].norm(dim=-1).max())
    stirs = (written > max(trace, 1e-6)) & (scene.importance.lower[site] < 1)
    return stirs.flatten(0, -2).any(0)


RIGHT = 0.99  # share of all inputs that must be answered rightly
CLOSE = 0.005  # purity below that of singular vectors by less than this is not below
COLUMNS = {
    "contestant": "who",
    "program": "which program",
    "rotation": "seed of the hidden rotation, and of the contestant",
    "failed": "why there are no scores; empty otherwise",
    "whole_domain": "1 where every input was looked at, 0 where the domain was sampled",
    "unmasked": "share of inputs right with all parts on and nothing else",
    "rounded": "share of inputs right with importances above 0.1 as one and others as zero",
    "ci": "share of inputs right with importances as masks",
    "stochastic": "share of inputs right with random masks between importance and one",
    "zero": "share of inputs right with all parts off: what is right by itself",
    "worst_N": "share of inputs right under the worst shared masks of N steps of ascent",
    "worst_all": "share of inputs right under the worst of all masks of zeros and ones; empty where too many parts are left to choose",
    "l0": "parts in use per position, over all sites",
    "alive": "parts important anywhere",
    "rank": "exact rank, summed over sites",
    "dead_alive": "parts alive at sites that do nothing",
    "dead_sites": "sites that do nothing",
    "purity": "mean over alive parts of the largest share of their residual side in one variable",
    "coverage": "mean share of each variable at each site that parts of its own carry",
    "error": "largest entry of the weights minus the sum of the parts",
    "use": "agreement of importance with interchange of the variable",
    "use_chance": "agreement of two independent answers of the same rates",
    "graph_precision": "share of claimed edges between variables that are there",
    "graph_recall": "share of edges that are claimed",
    "graph_chance": "precision of claiming all edges",
}
SCORES = (
    "unmasked",
    "rounded",
    "ci",
    "stochastic",
    "l0",
    "purity",
    "coverage",
    "use",
    "graph_precision",
    "graph_recall",
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """A value over programs and rotations with its interval, beside its null."""

    value: float
    low: float | None
    high: float | None
    n: int
    null: float | None


def mark_entry(entry: Entry, ladder: Sequence[int], exhaustive: int = 0) -> Row:
    """All scores of one entry, in the columns' names; every mask is tried where at most `exhaustive` parts can be chosen."""
    alive = entry.find_alive()
    parts = score_parts(entry, alive)
    use, graph = UseScores(math.nan, math.nan, 0), GraphScores(math.nan, math.nan, math.nan, 0)
    if entry.program.knows_flow:
        use, graph = score_use(entry, alive), score_graph(entry, alive)
    row: Row = {"failed": "", "whole_domain": int(entry.program.is_whole), **share_right(entry)}
    row |= {f"worst_{steps}": share for steps, share in climb_ladder(entry, ladder).items()}
    row["worst_all"] = try_every_mask(entry, exhaustive)
    row |= {
        key: getattr(parts, key)
        for key in ("alive", "rank", "dead_alive", "dead_sites", "purity", "coverage")
    }
    row |= {"error": parts.error, "use": use.agreement, "use_chance": use.chance}
    return row | {
        "graph_precision": graph.precision,
        "graph_recall": graph.recall,
        "graph_chance": graph.chance,
    }


def average_score(rows: Sequence[Row], contestant: str, key: str, null: float | None) -> Mark | None:
    """Mean over this contestant's entries with Student's interval; an entry that failed counts as missing."""
    values = [row[key] for row in rows if row["contestant"] == contestant and not row["failed"]]
    values = [float(value) for value in values if not math.isnan(value)]
    if not values:
        return None
    top = math.inf if key == "l0" else 1.0
    mean, low, high = student_interval(values, 0.0, top)
    return (
        Mark(mean, low, high, len(values), null) if low != high else Mark(mean, None, None, len(values), null)
    )


def count_passed(rows: Sequence[Row], contestant: str, question: str) -> Mark:
    """Share of programs that a contestant passes in every rotation, with Wilson's interval."""
    own_rows = [row for row in rows if row["contestant"] == contestant]
    programs = sorted({row["program"] for row in own_rows})
    passed = [
        all(passes_question(row, rows, question) for row in own_rows if row["program"] == name)
        for name in programs
    ]
    return Mark(sum(passed) / len(passed), *exact_share(sum(passed), len(passed)), len(passed), None)


def passes_question(row: Row, rows: Sequence[Row], question: str) -> bool:
    """Whether a row passes; purity is passed by being purer than the singular directions of the same program."""
    if row["failed"]:
        return False
    if question == "dead_silent":
        return row["dead_alive"] == 0
    if question == "pure":
        rival = [
            other["purity"]
            for other in rows
            if other["contestant"] == "singular"
            and not other["failed"]
            and (other["program"], other["rotation"]) == (row["program"], row["rotation"])
        ]
        return bool(rival) and row["purity"] >= rival[0] - CLOSE
    return row[question] >= RIGHT
