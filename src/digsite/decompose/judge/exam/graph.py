"""Does attribution between parts give the program's graph: which variable is computed from which?

The truth is in the program's heads and neuron groups: what a block reads for what it writes. An edge is claimed where the
parts of two variables influence each other by more than a trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.decompose.core.attributions import attribute
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.judge.exam.parts import assign_variables, residual_side
from digsite.decompose.subjects.compiled import CompiledProgram

TRACE = 0.02  # share of a pair of sites' largest influence above which an edge is claimed
ROWS = 48
Edge = tuple[str, str, str]  # site that reads, variable that it reads, variable that is written


@dataclass(frozen=True)
class GraphScores:
    """Precision and recall of edges; `chance` is the precision of claiming every pair of variables of a block."""

    precision: float
    recall: float
    chance: float
    edges: int


def known_edges(program: CompiledProgram) -> set[Edge]:
    """From the truth of heads and neuron groups."""
    truth = program.truth
    found: set[Edge] = set()
    for head in truth["heads_detail"]:
        for letter, key in (("q", "query_reads"), ("k", "key_reads"), ("v", "value_reads")):
            site = f"blocks.{head['block']}.attn.{letter}"
            found |= {(site, a, b) for a in head.get(key, []) for b in head.get("writes", [])}
    for group in truth["neuron_groups"]:
        site = f"blocks.{group['block']}.mlp.in"
        found |= {(site, a, b) for a in group["reads"] for b in group["writes"]}
    return found


def score_graph(entry: Entry, alive: dict[str, Tensor], seed: int = 0) -> GraphScores:
    """Edges inside of every block: from what attention and the MLP read to what they write."""
    program = entry.program
    generator = torch.Generator().manual_seed(seed)
    whole = program.domain[-1]
    ids = whole[torch.randperm(len(whole), generator=generator)[:ROWS]]
    claimed: set[Edge] = set()
    possible: set[Edge] = set()
    for site in program.sites:
        end = _partner(site)
        if end is None or not program.rank(site) or not program.rank(end):
            continue
        possible |= {(site, a, b) for a in program.variables_at(site) for b in program.variables_at(end)}
        claimed |= _claimed_edges(entry, site, end, ids)
    known = known_edges(program)
    hits = len(claimed & known)
    return GraphScores(
        hits / len(claimed) if claimed else 0.0,
        hits / max(len(known), 1),
        len(known & possible) / max(len(possible), 1),
        len(known),
    )


def _partner(site: str) -> str | None:
    """The site of the same block that writes what this one reads for."""
    head, _, last = site.rpartition(".")
    if last in ("q", "k", "v"):
        return f"{head}.o"
    return f"{head}.out" if last == "in" else None


def _claimed_edges(entry: Entry, source: str, end: str, ids: Tensor) -> set[Edge]:
    program = entry.program
    found = attribute(entry.found, source, end, ids)
    if not found.strength.numel():
        return set()
    own, others = (
        assign_variables(program, residual_side(site, parts.V, parts.U))
        for site, parts in ((s, entry.found.components(s)) for s in (source, end))
    )
    strong = found.strength > TRACE * found.strength.max().clamp_min(1e-30)
    return {
        (source, own[found.sources[i]], others[found.destinations[j]]) for i, j in strong.nonzero().tolist()
    }
