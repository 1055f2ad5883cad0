"""What components are about: inputs that use one, outputs it moves, its nearest neuron, and which components it feeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.core.components import Decomposed
from digsite.decompose.core.masks import USED, Masks, find_alive, find_used


@dataclass(frozen=True)
class Explanation:
    """What one component is about, in numbers and places."""

    module: str
    component: int
    share: float  # positions with importance above 0.1
    top: list[tuple[tuple[int, ...], float]]  # (position, importance), most important first
    top_inputs: list[Any]  # what was there: the token, or the input's largest entries
    moved: list[
        tuple[int, float]
    ]  # (output, mean change when the component is switched off at those positions)
    neuron: tuple[int, float]  # column of the matrix that it resembles most, and the cosine
    singular: tuple[int, float]  # singular direction that it resembles most, and the cosine


@torch.no_grad()
def explain_component(
    decomposition: Decomposed, module: str, component: int, batch: Tensor, n_top: int = 10
) -> Explanation:
    """The `n_top` places of `batch` where its importance is highest, and what its matrix resembles."""
    scene = decomposition.scene(batch)
    g = scene.importance.lower[module][..., component]
    values, flat = g.flatten().topk(min(n_top, g.numel()))
    places = [tuple(int(i) for i in torch.unravel_index(index, g.shape)) for index in flat]
    parts = decomposition.components(module)
    direction = parts.matrix(component)
    return Explanation(
        module,
        component,
        float(find_used(g).float().mean()),
        [(position, float(v)) for position, v in zip(places, values, strict=True)],
        [describe_input(batch, position) for position in places],
        find_moved_outputs(decomposition, scene, module, component, places, n_top),
        find_nearest_neuron(direction, parts.weight),
        find_nearest_singular(direction, parts.weight),
    )


def describe_input(batch: Tensor, position: tuple[int, ...]) -> Any:
    """A token number, or the three largest entries of a row."""
    if not batch.is_floating_point():
        return int(batch[position[: batch.ndim]])
    row = batch[position[0]].flatten()
    index = row.abs().topk(min(3, len(row))).indices.tolist()
    return {i: round(float(row[i]), 4) for i in index}


def find_moved_outputs(
    decomposition: Decomposed, scene: Any, module: str, component: int, places: list[tuple[int, ...]], n: int
) -> list[tuple[int, float]]:
    """Output change where the component matters, all other components left as they are."""
    parts = {m: torch.ones_like(g) for m, g in scene.importance.lower.items()}
    full = scene.forward(Masks(parts))
    parts[module] = parts[module].clone()
    parts[module][..., component] = 0
    change = full - scene.forward(Masks(parts))
    depth = change.ndim - 1
    at = torch.stack([change[position[:depth]] for position in places]).mean(0).flatten()
    index = at.abs().topk(min(n, len(at))).indices.tolist()
    return [(i, float(at[i])) for i in index]


def find_nearest_neuron(direction: Tensor, weight: Tensor) -> tuple[int, float]:
    """A neuron is an output column of the matrix; the cosine is with that column alone."""
    lengths = weight.norm(dim=0) * direction.norm()
    cosine = (direction * weight).sum(0) / lengths.clamp_min(1e-12)
    best = int(cosine.abs().argmax())
    return best, float(cosine[best])


def find_nearest_singular(direction: Tensor, weight: Tensor) -> tuple[int, float]:
    """(number, cosine) of the singular direction of `weight` that a part resembles most."""
    left, _, right = torch.linalg.svd(weight, full_matrices=False)
    cosine = torch.einsum("ik,io,ko->k", left, direction, right) / direction.norm().clamp_min(1e-12)
    best = int(cosine.abs().argmax())
    return best, float(cosine[best])


# --- what a component of a token model is used for, for a page that a person reads -----------------------------

Place = tuple[int, int]  # (row, position)
AROUND = 8  # tokens shown on either side of a place
BINS = 20  # of the histogram of importances


@dataclass(frozen=True)
class Context:
    """A piece of text around the place `at` where a component is used; importances of all of its tokens."""

    tokens: list[int]
    importance: list[float]
    at: int


@dataclass(frozen=True)
class Use:
    """When a component of a token model is used and what it does there.

    `first`: share of its uses at the first position of a text, where models keep what belongs to no token; `tokens`: (token, uses, share of the token's places that use it), by summed importance; `promoted` and `suppressed`:
    (token, by how much its logit rises above the average token's when the component is there) at the places of `contexts`;
    `histogram`: places by importance, in BINS equal bins from 0 to 1.
    """

    share: float
    first: float
    tokens: list[tuple[int, int, float]]
    contexts: list[Context]
    promoted: list[tuple[int, float]]
    suppressed: list[tuple[int, float]]
    histogram: list[int]


@torch.no_grad()
def describe_uses(
    decomposition: Decomposed,
    batches: Sequence[Tensor],
    importance: Mapping[str, Tensor],
    chosen: Mapping[str, Sequence[int]],
    n: int = 6,
) -> dict[str, dict[int, Use]]:
    """A Use for each of the `chosen` components by module, from batches of token numbers (rows, positions) of one length and
    the importances (all positions, C) there.
    """
    ids = torch.cat(list(batches))
    spread = {m: importance[m].reshape(*ids.shape, -1) for m in chosen}
    places = {
        m: {c: pick_places(ids, look_past_first(spread[m][..., c]), n) for c in numbers}
        for m, numbers in chosen.items()
    }
    changes = measure_promotions(decomposition, batches, places)
    return {
        m: {
            c: make_use(ids, spread[m][..., c], at, changes[m].get(c, torch.zeros(0)), n)
            for c, at in of.items()
        }
        for m, of in places.items()
    }


def make_use(ids: Tensor, g: Tensor, places: list[Place], change: Tensor, n: int) -> Use:
    """One component's Use, from its importance `g` (rows, positions), its places, and what it adds to the logits there."""
    order = change.argsort(descending=True).tolist()
    return Use(
        float(find_used(g).float().mean()),
        share_first(g),
        rank_tokens(ids, g, n),
        [cut_context(ids[row], g[row], at) for row, at in places],
        [(i, float(change[i])) for i in order[:n]],
        [(i, float(change[i])) for i in order[::-1][:n]],
        torch.histc(g.float().cpu(), BINS, 0, 1).long().tolist(),
    )


def share_first(g: Tensor) -> float:
    """Of the places that use a component, the share at the first position of a text."""
    used = find_used(g).float()
    return float(used[:, 0].sum() / used.sum().clamp_min(1))


def look_past_first(g: Tensor) -> Tensor:
    """Importances (rows, positions) without those at first positions, unless most uses are there: a component that is used
    there like nearly all others would show nothing else.
    """
    if share_first(g) > 0.5:
        return g
    return torch.cat([torch.zeros_like(g[:, :1]), g[:, 1:]], 1)


def pick_places(ids: Tensor, g: Tensor, n: int) -> list[Place]:
    """The (row, position) of most importance in each of n different rows, where it is used; a text that was drawn twice
    counts once.
    """
    used = find_used(g)
    order = g.amax(1).argsort(descending=True, stable=True).tolist()
    different = {tuple(ids[row].tolist()): row for row in reversed(order) if bool(used[row].any())}
    return [(row, int(g[row].argmax())) for row in reversed(different.values())][:n]


def rank_tokens(ids: Tensor, g: Tensor, n: int) -> list[tuple[int, int, float]]:
    """Tokens that hold most of a component's importance: (token, uses, share of the token's places)."""
    tokens, of = ids.flatten().unique(return_inverse=True)
    sums, uses, times = (
        torch.zeros(len(tokens), device=g.device).index_add_(0, of, values.flatten().float())
        for values in (g, find_used(g), torch.ones_like(g))
    )
    best = [i for i in sums.topk(min(n, len(sums))).indices.tolist() if uses[i]]
    return [(int(tokens[i]), int(uses[i]), float(uses[i] / times[i])) for i in best]


def cut_context(ids: Tensor, g: Tensor, at: int) -> Context:
    """AROUND tokens on either side of one place of a row."""
    low, high = max(0, at - AROUND), at + AROUND + 1
    importance = [round(float(value), 3) for value in g[low:high]]
    return Context(ids[low:high].tolist(), importance, at - low)


def measure_promotions(
    decomposition: Decomposed, batches: Sequence[Tensor], places: Mapping[str, Mapping[int, list[Place]]]
) -> dict[str, dict[int, Tensor]]:
    """(tokens,) for every component of each module: by how much it raises each next token's logit above the average token's,
    mean over its places.

    Everything else is left alone. Not log probabilities: where each place has another favorite, all of them fall. A batch is
    looked at once; its rows know nothing of each other, so in one pass each can go without another component.
    """
    sums: dict[str, dict[int, Tensor]] = {module: {} for module in places}
    first = 0
    for batch in batches:
        span = range(first, first + len(batch))
        inside = {
            module: [(c, row - first, at) for c, listed in of.items() for row, at in listed if row in span]
            for module, of in places.items()
        }
        if any(inside.values()):
            scene = decomposition.scene(batch)
            for module, asked in inside.items():
                for c, change in switch_off_by_row(scene, module, asked):
                    share = change / len(places[module][c])
                    sums[module][c] = sums[module][c] + share if c in sums[module] else share
        first += len(batch)
    return sums


def switch_off_by_row(
    scene: Any, module: str, asked: Sequence[tuple[int, int, int]]
) -> Iterator[tuple[int, Tensor]]:
    """For each (component, row, position): the component, and what it adds to the logits (tokens,) at that position."""
    rounds: list[list[tuple[int, int, int]]] = []
    of_row: Counter[int] = Counter()
    for each in asked:
        if of_row[each[1]] == len(rounds):
            rounds.append([])
        rounds[of_row[each[1]]].append(each)
        of_row[each[1]] += 1
    for together in rounds:
        mask = torch.ones_like(scene.importance.lower[module])
        for c, row, _ in together:
            mask[row, ..., c] = 0
        spoken = scene.forward(Masks({module: mask}, {module: torch.ones_like(mask[..., :1])}))
        for c, row, at in together:
            change = (scene.output[row, at] - spoken[row, at]).float()
            yield c, change - change.mean()


# --- which components feed which: gradient times activation, to later modules' components --------------------


@dataclass(frozen=True)
class Attributions:
    """strength[i, j]: mean absolute first-order effect of source i on the inner activation of destination j."""

    source: str
    destination: str
    sources: list[int]
    destinations: list[int]
    strength: Tensor


def attribute_components(
    decomposition: Decomposed, source: str, destination: str, batch: Tensor, *, threshold: float = USED
) -> Attributions:
    """Effects along the model run on its important components; components that never act are left out."""
    scene = decomposition.scene(batch)
    importance = scene.importance.lower
    used = {m: find_alive(importance[m], threshold).nonzero()[:, 0].tolist() for m in (source, destination)}
    masks = {m: g.clone().requires_grad_(m == source) for m, g in importance.items()}
    inner: dict[str, Tensor] = {}
    scene.forward(Masks(masks), inner=inner)
    if not inner[destination].requires_grad:
        raise UsageError(
            f"Nothing flows from '{source}' to '{destination}'.", hint="Give the earlier module first."
        )
    columns = [
        measure_effect(inner[destination][..., d], masks[source], importance[destination][..., d])
        for d in used[destination]
    ]
    strength = (
        torch.stack(columns, 1) if columns else importance[source].new_zeros(importance[source].shape[-1], 0)
    )
    return Attributions(source, destination, used[source], used[destination], strength[used[source]])


def measure_effect(inner: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Where the destination matters: d inner / d mask times mask, absolute, mean over positions."""
    (slope,) = torch.autograd.grad((inner * weight).sum(), mask, retain_graph=True)
    effect = (slope * mask).abs().flatten(0, -2)
    return effect.mean(0).detach()
