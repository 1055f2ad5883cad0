"""Are the parts those of the program: pure, used where their variable matters, and tied as its variables are?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from digsite.decompose.core.explain import attribute_components
from digsite.decompose.core.masks import find_used
from digsite.decompose.judge.exam import Entry
from digsite.decompose.subjects.compiled import CompiledProgram, writes_to_stream


@dataclass(frozen=True)
class PartScores:
    """`alive` and `rank` summed over sites; `dead_alive`: parts alive where the program does nothing (out of
    `dead_sites` sites); `purity`: mean over alive parts; `coverage`: mean over pairs of a site and a variable."""

    alive: int
    rank: int
    dead_alive: int
    dead_sites: int
    purity: float
    coverage: float
    error: float  # largest entry of W - VU, over all sites


def score_parts(entry: Entry, alive: dict[str, Tensor]) -> PartScores:
    """`alive` (C,) by site says which parts count."""
    program = entry.program
    purities: list[Tensor] = []
    covered: list[float] = []
    error = 0.0
    dead = [site for site in program.sites if program.rank(site) == 0]
    for site in program.sites:
        parts = entry.decomposition.components(site)
        error = max(error, float(parts.residual.abs().max()))
        kept = alive[site]
        if program.rank(site) and kept.any() and program.variables:
            purities.append(measure_purity(program, site, known_side(program, site, parts.V, parts.U)[kept]))
        if program.rank(site):
            covered += measure_coverage(program, site, parts.V[:, kept], parts.U[kept], parts.weight)
    purity = torch.cat(purities).mean() if purities else torch.tensor(torch.nan)
    return PartScores(
        alive=sum(int(kept.sum()) for kept in alive.values()),
        rank=sum(program.rank(site) for site in program.sites),
        dead_alive=sum(int(alive[site].sum()) for site in dead),
        dead_sites=len(dead),
        purity=float(purity),
        coverage=sum(covered) / len(covered) if covered else torch.nan,
        error=error,
    )


def known_side(program: CompiledProgram, site: str, v: Tensor, u: Tensor) -> Tensor:
    """(C, d): what each part V (d_in, C), U (C, d_out) reads or writes, whichever the truth is about."""
    return u if program.knows_written(site) else v.T


def share_by_variable(program: CompiledProgram, site: str, directions: Tensor) -> Tensor:
    """(C, variables): share of the squared norm of each direction (C, d) inside of each variable's subspace."""
    squared = program.view_directions(site, directions).square().sum(-1)
    squared = squared / squared.sum(1, keepdim=True).clamp_min(1e-30)
    return torch.stack([squared[:, dims].sum(1) for dims in program.variables.values()], 1)


def measure_purity(program: CompiledProgram, site: str, directions: Tensor) -> Tensor:
    """(C,): the largest of those shares; 1 for a direction that belongs to one variable."""
    return share_by_variable(program, site, directions).amax(1)


def assign_variables(program: CompiledProgram, site: str, directions: Tensor) -> list[str]:
    """The variable that each direction (C, d) mostly belongs to."""
    names = list(program.variables)
    return [names[i] for i in share_by_variable(program, site, directions).argmax(1).tolist()]


def measure_coverage(
    program: CompiledProgram, site: str, v: Tensor, u: Tensor, weight: Tensor
) -> list[float]:
    """For each variable that the site deals with: how much of it the parts of that variable alone carry, 0 to 1."""
    own = (
        assign_variables(program, site, known_side(program, site, v, u))
        if len(u) and program.variables
        else []
    )
    coverages = []
    for name in program.variables_at(site):
        dims = program.variables[name]
        columns = [c for c, variable in enumerate(own) if variable == name]
        sides = (m if program.knows_written(site) else m.T for m in (weight, v[:, columns] @ u[columns]))
        wanted, got = (program.view_directions(site, side)[:, dims] for side in sides)
        missing = float((wanted - got).square().sum() / wanted.square().sum().clamp_min(1e-30))
        coverages.append(max(0.0, 1 - missing))
    return coverages


# Is a part important exactly where the variable that it carries can change the answer?
#
# The truth is an interchange: at one position of one input, what a site reads of one variable is replaced by what it reads
# of it in another input. Where some replacement changes the network's answer, the variable matters there.

ROWS, DONORS = 64, 4


@dataclass(frozen=True)
class UseScores:
    """Share of (site, variable, place) where importance and truth agree, and what the same rates agree on by chance."""

    agreement: float
    chance: float
    places: int


@torch.no_grad()
def score_use(entry: Entry, alive: dict[str, Tensor], seed: int = 0) -> UseScores:
    """Sites that read the residual stream; variables that vary there and have at least one alive part of their own."""
    program = entry.program
    generator = torch.Generator().manual_seed(seed)
    whole = program.domain[-1]
    pick = torch.randint(len(whole), (ROWS,), generator=generator)
    donors = whole[torch.randint(len(whole), (DONORS, ROWS), generator=generator)]
    ids = whole[pick]
    positions = torch.randint(1, ids.shape[1], (ROWS,), generator=generator)
    rows = torch.arange(ROWS)
    scene = entry.observe_inputs(ids)
    read = [read_site_inputs(entry, donor) for donor in donors]
    agree, chance = [], []
    for site in program.sites:
        if program.rank(site) == 0 or writes_to_stream(site):
            continue
        own = assign_variables(program, site, entry.decomposition.components(site).V.T)
        for name in program.variables_at(site):
            columns = [c for c, variable in enumerate(own) if variable == name and alive[site][c]]
            if not columns:
                continue
            swaps = [
                swap_variable(program, name, scene.inputs[site], reader[site], positions) for reader in read
            ]
            if all(torch.allclose(swap, scene.inputs[site], atol=1e-4) for swap in swaps):
                continue  # a constant cannot be interchanged
            matters = torch.stack([find_changed(entry, ids, site, swap) for swap in swaps]).any(0)
            said = find_used(scene.importance.lower[site][rows, positions][:, columns]).any(1)
            a, b = float(matters.float().mean()), float(said.float().mean())
            agree.append(float((matters == said).float().mean()))
            chance.append(a * b + (1 - a) * (1 - b))
    n = max(len(agree), 1)
    return UseScores(sum(agree) / n if agree else float("nan"), sum(chance) / n, len(agree) * ROWS)


def read_site_inputs(entry: Entry, ids: Tensor) -> dict[str, Tensor]:
    """What each site reads on these inputs."""
    return entry.decomposition.scene(ids).inputs


def swap_variable(program: Any, name: str, own: Tensor, other: Tensor, positions: Tensor) -> Tensor:
    """What a site reads, with one variable's subspace taken from the other input at one position of each row."""
    basis = program.basis[program.variables[name]]
    rows = torch.arange(len(own))
    changed = own.clone()
    changed[rows, positions] += (other[rows, positions] - own[rows, positions]) @ basis.T @ basis
    return changed


def find_changed(entry: Entry, ids: Tensor, site: str, replacement: Tensor) -> Tensor:
    """(rows,) whether the network's answer changes at any position when the site reads the replacement."""
    target = entry.decomposition.plan.target
    output = target(None, ids, {site: lambda call, _: call.answer_itself(replacement)})
    return ~entry.program.is_right(output, entry.program.wanted(ids))


# Does attribution between parts give the program's graph: which variable is computed from which?
#
# The truth is in the program's heads and neuron groups: what a block reads for what it writes. An edge is claimed where the
# parts of two variables influence each other by more than a trace.

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
    edges: set[Edge] = set()
    for head in truth["heads_detail"]:
        for letter, key in (("q", "query_reads"), ("k", "key_reads"), ("v", "value_reads")):
            site = f"blocks.{head['block']}.attn.{letter}"
            edges |= {(site, a, b) for a in head.get(key, []) for b in head.get("writes", [])}
    for group in truth["neuron_groups"]:
        site = f"blocks.{group['block']}.mlp.in"
        edges |= {(site, a, b) for a in group["reads"] for b in group["writes"]}
    return edges


def score_graph(entry: Entry, alive: dict[str, Tensor], seed: int = 0) -> GraphScores:
    """Edges inside of every block: from what attention and the MLP read to what they write."""
    program = entry.program
    generator = torch.Generator().manual_seed(seed)
    whole = program.domain[-1]
    ids = whole[torch.randperm(len(whole), generator=generator)[:ROWS]]
    claimed: set[Edge] = set()
    possible: set[Edge] = set()
    for site in program.sites:
        end = find_partner(site)
        if end is None or not program.rank(site) or not program.rank(end):
            continue
        possible |= {(site, a, b) for a in program.variables_at(site) for b in program.variables_at(end)}
        claimed |= claim_edges(entry, site, end, ids)
    known = known_edges(program)
    hits = len(claimed & known)
    return GraphScores(
        hits / len(claimed) if claimed else 0.0,
        hits / max(len(known), 1),
        len(known & possible) / max(len(possible), 1),
        len(known),
    )


def find_partner(site: str) -> str | None:
    """The site of the same block that writes what this one reads for."""
    head, _, last = site.rpartition(".")
    if last in ("q", "k", "v"):
        return f"{head}.o"
    return f"{head}.out" if last == "in" else None


def claim_edges(entry: Entry, source: str, end: str, ids: Tensor) -> set[Edge]:
    """Pairs of variables between which the decomposition sees an effect."""
    program = entry.program
    attributions = attribute_components(entry.decomposition, source, end, ids)
    if not attributions.strength.numel():
        return set()
    own, others = (
        assign_variables(program, site, known_side(program, site, parts.V, parts.U))
        for site, parts in ((s, entry.decomposition.components(s)) for s in (source, end))
    )
    strong = attributions.strength > TRACE * attributions.strength.max().clamp_min(1e-30)
    return {
        (source, own[attributions.sources[i]], others[attributions.destinations[j]])
        for i, j in strong.nonzero().tolist()
    }
