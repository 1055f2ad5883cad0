"""Are the parts those of the program? Their number, what is alive where nothing should be, purity, and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.subjects.compiled import CompiledProgram


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
        parts = entry.found.components(site)
        error = max(error, float(parts.residual.abs().max()))
        kept = alive[site]
        if program.rank(site) and kept.any():
            purities.append(measure_purity(program, residual_side(site, parts.V, parts.U)[kept]))
        if program.rank(site):
            covered += _cover(program, site, parts.V[:, kept], parts.U[kept], parts.weight)
    purity = torch.cat(purities).mean() if purities else torch.tensor(torch.nan)
    return PartScores(
        alive=sum(int(kept.sum()) for kept in alive.values()),
        rank=sum(program.rank(site) for site in program.sites),
        dead_alive=sum(int(alive[site].sum()) for site in dead),
        dead_sites=len(dead),
        purity=float(purity),
        coverage=sum(covered) / max(len(covered), 1),
        error=error,
    )


def writes_to_stream(site: str) -> bool:
    """Whether a site's outputs, and not its inputs, are residual directions."""
    return site.endswith((".o", ".out"))


def residual_side(site: str, v: Tensor, u: Tensor) -> Tensor:
    """(C, width): what each part reads from the residual stream, or writes to it."""
    return u if writes_to_stream(site) else v.T


def share_by_variable(program: CompiledProgram, directions: Tensor) -> Tensor:
    """(C, variables): share of the squared norm of each direction (C, width) inside of each variable's subspace."""
    squared = (directions.double() @ program.basis.double().T).square()
    squared = squared / squared.sum(1, keepdim=True).clamp_min(1e-30)
    return torch.stack([squared[:, dims].sum(1) for dims in program.variables.values()], 1)


def measure_purity(program: CompiledProgram, directions: Tensor) -> Tensor:
    """(C,): the largest of those shares; 1 for a direction that belongs to one variable."""
    return share_by_variable(program, directions).amax(1)


def assign_variables(program: CompiledProgram, directions: Tensor) -> list[str]:
    """The variable that each direction (C, width) mostly belongs to."""
    names = list(program.variables)
    return [names[i] for i in share_by_variable(program, directions).argmax(1).tolist()]


def _cover(program: CompiledProgram, site: str, v: Tensor, u: Tensor, weight: Tensor) -> list[float]:
    """For each variable that the site deals with: how much of it the parts of that variable alone carry, 0 to 1."""
    own = assign_variables(program, residual_side(site, v, u)) if len(u) else []
    found = []
    for name in program.variables_at(site):
        basis = program.basis[program.variables[name]]
        mine = [c for c, variable in enumerate(own) if variable == name]
        made = v[:, mine] @ u[mine]
        wanted, got = ((m @ basis.T) if writes_to_stream(site) else (basis @ m) for m in (weight, made))
        missing = float((wanted - got).square().sum() / wanted.square().sum().clamp_min(1e-30))
        found.append(max(0.0, 1 - missing))
    return found
