"""Does the masked network still answer what the program answers? On all inputs, under five kinds of masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from digsite.decompose.core.masks import Masks, find_used
from digsite.decompose.core.scene import Scene
from digsite.decompose.judge.exam import Entry

KINDS = ("unmasked", "rounded", "ci", "stochastic", "zero")
LADDER = (20, 40, 80, 160, 320)
ATTACKED = 128  # inputs that the adversary looks at; what it finds is tried on all inputs


@torch.no_grad()
def share_right(entry: Entry, draws: int = 1) -> dict[str, float]:
    """Share of all inputs whose answer is the program's, by kind of mask; and parts in use per position (`l0`).

    Only parts count: what they leave over (the residual) is switched off in every kind.
    """
    right = dict.fromkeys(KINDS, 0.0)
    used = inputs = positions = 0.0
    generator = torch.Generator().manual_seed(0)
    for ids in entry.program.batches(1024):
        scene = entry.observe_inputs(ids)
        wanted = entry.program.wanted(ids)
        used += sum(float(find_used(g).sum()) for g in scene.importance.lower.values())
        inputs, positions = inputs + len(ids), positions + ids.numel()
        for kind in KINDS:
            times = draws if kind == "stochastic" else 1
            for _ in range(times):
                output = scene.forward(scene.draw_masks(kind, generator=generator, residual=False))
                right[kind] += float(entry.program.is_right(output, wanted).sum()) / times
    return {kind: count / inputs for kind, count in right.items()} | {"l0": used / positions}


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
    found, best, most = {}, source, -1.0
    for step in range(max(steps) + 1):
        slopes, loss = climb_slope(scene, source)
        if loss > most:
            best, most = source, loss
        if step in steps:
            found[step] = share_right_under(entry, best)
        rate = 0.1 if step < 40 else 0.02
        source = {site: (r + rate * slopes[site].sign()).clamp(0, 1) for site, r in source.items()}
    return found


def climb_slope(scene: Scene, source: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    free = {site: r.clone().requires_grad_() for site, r in source.items()}
    loss = scene.compare_output(scene.forward(place_between(scene, free)))
    slopes = torch.autograd.grad(loss, list(free.values()), materialize_grads=True)
    return dict(zip(free, slopes, strict=True)), float(loss.detach())


def place_between(scene: Scene, source: dict[str, Tensor]) -> Masks:
    return Masks({site: g + (1 - g) * source[site] for site, g in scene.importance.lower.items()})


@torch.no_grad()
def share_right_under(entry: Entry, source: dict[str, Tensor]) -> float:
    right = total = 0.0
    for ids in entry.program.batches(1024):
        scene = entry.observe_inputs(ids)
        output = scene.forward(place_between(scene, source))
        right += float(entry.program.is_right(output, entry.program.wanted(ids)).sum())
        total += len(ids)
    return right / total
