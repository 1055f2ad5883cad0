"""What the exam asks of a decomposition of a program that is known: function, parts, use and graph.

Here is what is scored: a contestant's answer in one form, parts and importances of every site, on the program they
were made for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError, one_sentence
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.gates import Shape
from digsite.decompose.core.masks import Importance, find_alive
from digsite.decompose.core.scene import Plan, Scene
from digsite.decompose.core.target import Target
from digsite.decompose.subjects.compiled import CompiledProgram

Parts = Mapping[str, tuple[Tensor, Tensor]]  # V (d_in, C) and U (C, d_out) by site
Importances = Callable[
    [Tensor], Mapping[str, Tensor]
]  # ids (batch, positions) -> (batch, positions, C) by site


@dataclass(frozen=True)
class Entry:
    """A decomposition, and importances of the contestant's own where it brings some."""

    program: CompiledProgram
    decomposition: Decomposition
    importances: Importances | None = None

    def observe_inputs(self, ids: Tensor) -> Scene:
        """The masked network on some inputs (batch, positions), with this entry's importances."""
        scene = self.decomposition.scene(ids)
        if self.importances is None:
            return scene
        with one_sentence("The function of importances"):
            own = {site: value.to(torch.float32) for site, value in self.importances(ids).items()}
        for site, expected in scene.importance.lower.items():
            got = tuple(own[site].shape) if site in own else None
            if got != tuple(expected.shape):
                raise UsageError(
                    f"The importances of '{site}' should be {tuple(expected.shape)} and are {got}."
                )
            if not torch.isfinite(own[site]).all():
                raise UsageError(f"The importances of '{site}' hold a number that is not finite.")
            if own[site].min() < 0 or own[site].max() > 1:
                raise UsageError(f"The importances of '{site}' leave the range from 0 to 1.")
        return replace(scene, importance=Importance(own, own))

    @torch.no_grad()
    def find_alive(self) -> dict[str, Tensor]:
        """(C,) by site: whether a part is important at some position of some input of the whole domain."""
        alive: dict[str, Tensor] = {}
        for ids in self.program.batches(1024):
            for site, g in self.observe_inputs(ids).importance.lower.items():
                used = find_alive(g)
                alive[site] = alive[site] | used if site in alive else used
        return alive


def entry_from_parts(program: CompiledProgram, parts: Parts, importances: Importances | None = None) -> Entry:
    """Parts without a trained gate: one counts as important where it is active (more than a trace of its own size).

    That is the natural importance of parts that nobody trained, and what the shipped recipe starts from.
    """
    config = DecomposeConfig.model_validate(
        {
            "C": {site: v.shape[1] for site, (v, _) in check_parts(program, parts).items()},
            "delta": False,
            "compare": "relative",
            "gate": {"kind": "active"},
            "init": "singular",
            "faithful": "exact",
        }
    )
    target = Target(program.model, program.sites)
    plan = Plan(
        target, {site: site for site in target.sites}, config.gate, config.sigmoid, False, config.compare
    )
    params: dict[str, Tensor] = {}
    for site, (v, u) in parts.items():
        params |= {f"{site}/V": v.float(), f"{site}/U": u.float()}
    shapes = {site: Shape(v.shape[0], u.shape[1], v.shape[1]) for site, (v, u) in parts.items()}
    gates = config.gate.draw_params(shapes, lambda name, *shape: torch.zeros(shape))
    config.gate.calibrate(gates, measure_parts(program, target, parts))
    params |= {f"gate/{key}": value for key, value in gates.items()}
    origin: dict[str, Any] = {"modules": program.sites, "identity": [], "output": ""}
    return Entry(program, Decomposition(plan, params, config, origin), importances)


def check_parts(program: CompiledProgram, parts: Parts) -> Parts:
    """Shapes that fit every site, before anything is scored."""
    matrices = {site: program.model.get_submodule(site).weight for site in program.sites}
    for site, weight in matrices.items():
        if site not in parts:
            raise UsageError(f"There are no parts of the site '{site}'.", hint="Every site needs (V, U).")
        v, u = parts[site]
        d_out, d_in = weight.shape  # pyright: ignore[reportGeneralTypeIssues]
        fits = v.ndim == u.ndim == 2 and v.shape[0] == d_in and u.shape[1] == d_out and v.shape[1] == len(u)
        if not fits:
            raise UsageError(
                f"The parts of '{site}' have shapes {tuple(v.shape)} and {tuple(u.shape)}.",
                hint=f"Accepted: V ({d_in}, C) and U (C, {d_out}).",
            )
        if v.shape[1] == 0:
            raise UsageError(
                f"There is no part of the site '{site}'.",
                hint="A site that does nothing gets one part of zeros.",
            )
        if not (torch.isfinite(v).all() and torch.isfinite(u).all()):
            raise UsageError(f"The parts of '{site}' hold a number that is not finite.")
    return parts


@torch.no_grad()
def measure_parts(program: CompiledProgram, target: Target, parts: Parts) -> dict[str, Tensor]:
    """Root mean square of each part's activation and contribution over the domain: (2, C) by site."""
    squares = {site: torch.zeros(v.shape[1]) for site, (v, _) in parts.items()}
    count = 0
    for ids in program.batches(1024):

        def record(site: Any, x: Tensor) -> Tensor:
            squares[site.name] += (x @ parts[site.name][0].float()).square().flatten(0, -2).sum(0)
            return site.answer_itself(x)

        target(None, ids, dict.fromkeys(target.sites, record))
        count += ids.numel()
    sizes = {site: (total / count).sqrt() for site, total in squares.items()}
    return {site: torch.stack([a, a * parts[site][1].float().norm(dim=1)]) for site, a in sizes.items()}
