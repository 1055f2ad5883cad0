"""Is a part important exactly where the variable that it carries can change the answer?

The truth is an interchange: at one position of one input, what a site reads of one variable is replaced by what it reads
of it in another input. Where some replacement changes the network's answer, the variable matters there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from digsite.decompose.core.gating import USED
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.judge.exam.parts import assign_variables, writes_to_stream

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
    place = torch.randint(1, ids.shape[1], (ROWS,), generator=generator)
    rows = torch.arange(ROWS)
    scene = entry.observe(ids)
    read = [_inputs_of(entry, donor) for donor in donors]
    agree, chance = [], []
    for site in program.sites:
        if program.rank(site) == 0 or writes_to_stream(site):
            continue
        own = assign_variables(program, entry.found.components(site).V.T)
        for name in program.variables_at(site):
            mine = [c for c, variable in enumerate(own) if variable == name and alive[site][c]]
            if not mine:
                continue
            swaps = [_swapped(program, name, scene.inputs[site], one[site], place) for one in read]
            if all(torch.allclose(swap, scene.inputs[site], atol=1e-4) for swap in swaps):
                continue  # a constant cannot be interchanged
            matters = torch.stack([_changes(entry, ids, site, swap) for swap in swaps]).any(0)
            said = (scene.importance.lower[site][rows, place][:, mine] > USED).any(1)
            a, b = float(matters.float().mean()), float(said.float().mean())
            agree.append(float((matters == said).float().mean()))
            chance.append(a * b + (1 - a) * (1 - b))
    n = max(len(agree), 1)
    return UseScores(sum(agree) / n if agree else float("nan"), sum(chance) / n, len(agree) * ROWS)


def _inputs_of(entry: Entry, ids: Tensor) -> dict[str, Tensor]:
    return entry.found.scene(ids).inputs


def _swapped(program: Any, name: str, own: Tensor, other: Tensor, place: Tensor) -> Tensor:
    """What a site reads, with one variable's subspace taken from the other input at one position of each row."""
    basis = program.basis[program.variables[name]]
    rows = torch.arange(len(own))
    changed = own.clone()
    changed[rows, place] += (other[rows, place] - own[rows, place]) @ basis.T @ basis
    return changed


def _changes(entry: Entry, ids: Tensor, site: str, replacement: Tensor) -> Tensor:
    """(rows,) whether the network's answer changes at any position when the site reads the replacement."""
    target = entry.found.plan.target
    output = target(None, ids, {site: lambda found, _: found.original(replacement)})
    return ~entry.program.is_right(output, entry.program.wanted(ids))
