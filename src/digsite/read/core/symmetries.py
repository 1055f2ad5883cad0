"""Changes of weights that leave the function alone, one network at a time."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from digsite.read.core.graph import Graph, WeightBlock, free_sets
from digsite.read.core.plain import to_plain_names, to_stored_names
from digsite.read.core.population import NetworkGroup

_SPREAD = 0.5  # log-normal width of the scales, as large as those that mislead readers of statistics
Change = dict[str, Tensor]
Symmetry = Callable[[NetworkGroup, np.random.Generator], Change | None]
SYMMETRIES: dict[str, Symmetry] = {}  # filled by the mark below, in the order of this file


def name_symmetry(name: str) -> Callable[[Symmetry], Symmetry]:
    """Mark a function as a symmetry under this name; it gives new tensors, or None where a network does not have it."""

    def enter_name(change: Symmetry) -> Symmetry:
        SYMMETRIES[name] = change
        return change

    return enter_name


@name_symmetry("permutation")
def permute_neurons(group: NetworkGroup, rng: np.random.Generator) -> Change | None:
    """Every hidden set in a new order; a transformer's stream too, with all that reads and writes it.

    Left alone: ends of grouped convolutions, and a stream whose norm has a shift that the graph does not hold.
    """
    graph, tensors = group.graph, dict(group.tensors)
    moved = False
    for node, described in enumerate(graph.nodes):
        if (
            described.identity
            or node in _find_grouped(group)
            or (described.is_stream and _norm_shift_is_hidden(group))
        ):
            continue
        order = torch.from_numpy(rng.permutation(described.size))
        _reorder_set(graph, tensors, node, order)
        moved = True
    return tensors if moved else None


def _find_grouped(group: NetworkGroup) -> set[int]:
    """Sets at either end of a grouped convolution: its channels move only in blocks, so they are left alone."""
    nodes = group.graph.nodes
    return {
        end
        for b in group.graph.blocks
        if b.layout == "conv" and group.tensors[b.tensors[0]].shape[2] != nodes[b.source].size
        for end in (b.source, b.target)
    }


def _norm_shift_is_hidden(group: NetworkGroup) -> bool:
    """A shift of a norm is not part of the graph, so the stream cannot be reordered without breaking it."""
    known = set(group.tensors)
    return any(re.search(r"(ln|norm)\w*\.(bias|b)$", n) and n not in known for n in group.stored)


def _reorder_set(graph: Graph, tensors: Change, node: int, order: Tensor) -> None:
    """Each side of each tensor once: tied weights are two blocks of one tensor."""
    sides: set[tuple[str, int]] = set()
    gains = set()
    for block in graph.blocks:
        if block.target == node:
            sides.add(_locate_side(block, target=True))
        if block.source == node:
            sides.add(_locate_side(block, target=False))
            gains |= {block.gain} - {""}
    spatial = {b.tensors[0] for b in graph.blocks if b.layout == "spatial" and b.source == node}
    for name, dim in sides:
        if name in spatial and dim == 2:
            tensors[name] = tensors[name].unflatten(2, (len(order), -1))[:, :, order].flatten(2)
        else:
            tensors[name] = tensors[name].index_select(dim, order)
    for name in gains | {v.tensor for v in graph.values if v.node == node}:
        tensors[name] = tensors[name][:, order]


def _locate_side(block: WeightBlock, target: bool) -> tuple[str, int]:
    """The tensor and its dimension (members first) that carries one end of a block."""
    if block.layout == "qk":
        return block.tensors[0 if target else 1], 2
    if block.layout in ("vo", "product"):
        ends = block.tensors if block.layout == "vo" else block.tensors[::-1]
        return (ends[0], 1) if target else (ends[1], 2)
    forward = (1, 2) if block.layout != "io" else (2, 1)
    return block.tensors[0], forward[0 if target else 1]


def _rescale_sets(group: NetworkGroup, freedom: str, draw: Callable[[int], np.ndarray]) -> Change | None:
    """Every free set of neurons multiplied on one side and divided on the other; None where nothing is free."""
    graph, tensors = group.graph, dict(group.tensors)
    nodes = [n for n, f in free_sets(graph).items() if f == freedom and n not in _find_grouped(group)]
    for node in nodes:
        factor = torch.from_numpy(draw(graph.nodes[node].size)).to(next(iter(tensors.values())))
        for block in graph.blocks:
            if block.target == node:
                tensors[block.tensors[-1 if block.layout == "product" else 0]] = _multiply_side(
                    tensors, block, factor, True
                )
            if block.source == node:
                tensors[block.tensors[0]] = _multiply_side(tensors, block, 1 / factor, False)
        _rescale_values(graph, tensors, node, factor)
    return tensors if nodes else None


def _multiply_side(tensors: Change, block: WeightBlock, factor: Tensor, target: bool) -> Tensor:
    """A block's tensor with a factor on its target's or its source's neurons."""
    t = tensors[block.tensors[-1 if target and block.layout == "product" else 0]]
    if not target and block.layout == "spatial":
        factor = factor.repeat_interleave(t.shape[2] // len(factor))
    shape = [1] * t.ndim
    shape[1 if target else 2] = -1
    return t * factor.reshape(shape)


def _rescale_values(graph: Graph, tensors: Change, node: int, factor: Tensor) -> None:
    """Biases move along; where batch norm follows, its gain and shift do instead, and the weights' scale is idle."""
    values = [v for v in graph.values if v.node == node]
    normed = any(v.role == "var" for v in values)
    for value in values:
        if value.role in ("bias", "mean") or (not normed and value.role == "shift"):
            tensors[value.tensor] = tensors[value.tensor] * factor
        elif value.role == "var":
            tensors[value.tensor] = (tensors[value.tensor] + 1e-5) * factor.square() - 1e-5
        if normed and value.role in ("gain", "shift"):
            tensors[value.tensor] = tensors[value.tensor] * factor


@name_symmetry("scale")
def rescale_neurons(group: NetworkGroup, rng: np.random.Generator) -> Change | None:
    """Positive factors from the inputs of ReLU neurons to their outputs."""
    return _rescale_sets(group, "scale", lambda n: np.exp(rng.normal(0, _SPREAD, n)))


@name_symmetry("sign")
def flip_neurons(group: NetworkGroup, rng: np.random.Generator) -> Change | None:
    """Signs from the inputs of tanh neurons to their outputs."""
    return _rescale_sets(group, "sign", lambda n: rng.choice([-1.0, 1.0], n))


@name_symmetry("heads")
def reorder_heads(group: NetworkGroup, rng: np.random.Generator) -> Change | None:
    """Attention heads in a new order; shared keys and values move with their group of heads."""
    tensors, changed = _all_tensors(group), False
    for qk, vo in _pair_attentions(group.graph):
        n_shared = qk.heads[1]
        if n_shared == 1:
            continue
        order = torch.from_numpy(
            np.roll(np.arange(n_shared), 1 + rng.integers(n_shared - 1))
        )  # never as it was
        for weight in (*qk.tensors, vo.tensors[1]):
            for name in _with_bias(weight, tensors):
                tensors[name] = tensors[name].unflatten(1, (n_shared, -1))[:, order].flatten(1, 2)
        tensors[vo.tensors[0]] = tensors[vo.tensors[0]].unflatten(2, (n_shared, -1))[:, :, order].flatten(2)
        changed = True
    return tensors if changed else None


@name_symmetry("head bases")
def turn_head_bases(group: NetworkGroup, rng: np.random.Generator) -> Change | None:
    """A new basis inside each head: R for queries, its inverse transposed for keys; S for values, undone after."""
    tensors, changed = _all_tensors(group), False
    for qk, vo in _pair_attentions(group.graph):
        n_heads, n_shared = qk.heads
        if n_heads != n_shared:
            continue
        size = tensors[qk.tensors[0]].shape[1] // n_heads
        bases = [
            torch.from_numpy(np.stack([_draw_basis(rng, size) for _ in range(n_heads)])).float()
            for _ in range(2)
        ]
        (q, k), (o, v) = qk.tensors, vo.tensors
        for weight, basis in ((q, bases[0]), (k, torch.linalg.inv(bases[0]).transpose(1, 2)), (v, bases[1])):
            for name in _with_bias(weight, tensors):
                tensors[name] = _per_head(tensors[name], basis)
        columns = tensors[o].unflatten(2, (n_heads, -1))
        tensors[o] = torch.einsum("nohk,hkj->nohj", columns, torch.linalg.inv(bases[1])).flatten(2)
        changed = True
    return tensors if changed else None


def _all_tensors(group: NetworkGroup) -> Change:
    """The graph's tensors and those that it skips, which may have to move along."""
    return {**to_plain_names(group.stored), **group.tensors}


def _with_bias(weight: str, tensors: Change) -> list[str]:
    """The bias moves with its neuron."""
    name = re.sub(r"weight$", "bias", re.sub(r"W_([QKV])$", r"b_\1", weight))
    return [weight, name] if name != weight and name in tensors else [weight]


def _draw_basis(rng: np.random.Generator, size: int) -> np.ndarray:
    """Well-conditioned and far from orthogonal."""
    u, _ = np.linalg.qr(rng.normal(size=(size, size)))
    v, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return u @ np.diag(rng.uniform(0.7, 1.4, size)) @ v


def _per_head(weight: Tensor, basis: Tensor) -> Tensor:
    """(members, heads x size, ...) with each head's rows mixed by its basis."""
    rows = weight.unflatten(1, (len(basis), -1))
    return torch.einsum("hjk,nhk...->nhj...", basis, rows).flatten(1, 2)


def _pair_attentions(graph: Graph) -> list[tuple[WeightBlock, WeightBlock]]:
    """A head's two products, which permute together."""
    return list(zip(graph.blocks_of("qk"), graph.blocks_of("vo")))


@name_symmetry("low-rank basis")
def turn_low_rank_basis(group: NetworkGroup, rng: np.random.Generator) -> Change | None:
    """(B R, R^-1 A) for every low-rank pair."""
    tensors, changed = dict(group.tensors), False
    for block in group.graph.blocks_of("lora"):
        a, b = block.tensors
        basis = torch.from_numpy(_draw_basis(rng, tensors[a].shape[1])).float()
        tensors[a] = torch.linalg.inv(basis) @ tensors[a]
        tensors[b] = tensors[b] @ basis
        changed = True
    return tensors if changed else None


@name_symmetry("norm folding")
def fold_norms(group: NetworkGroup, rng: np.random.Generator) -> Change | None:
    """Gains of the norms before a layer multiplied into it; batch norm in evaluation folded into its convolution."""
    tensors, changed = dict(group.tensors), False
    uses = Counter(name for block in group.graph.blocks for name in block.tensors)
    if any(b.gain and uses[n] > 1 for b in group.graph.blocks for n in b.tensors):
        return None  # a tied matrix cannot take in a gain for one of its two uses
    for block in group.graph.blocks:
        if block.gain and block.layout in ("oi", "qk", "vo"):
            for name in block.tensors if block.layout == "qk" else block.tensors[-1:]:
                tensors[name] = tensors[name] * group.tensors[block.gain][:, None, :]
            changed = True
    for gain in {b.gain for b in group.graph.blocks} - {""}:
        shift = re.sub(r"\.w$", ".b", re.sub(r"weight$", "bias", gain))
        if shift != gain and shift in group.stored:  # it lies before the matrices that took the gain in
            tensors[shift] = group.stored[shift] / tensors[gain]
        tensors[gain] = torch.ones_like(tensors[gain])
    return _fold_batch_norms(group, tensors) or (tensors if changed else None)


def _fold_batch_norms(group: NetworkGroup, tensors: Change) -> Change | None:
    """Into the weights before them: the same function without the norm's own scale."""
    changed = False
    for block in group.graph.blocks:
        roles = {v.role: v.tensor for v in group.graph.values if v.node == block.target}
        if "var" not in roles or "gain" not in roles or "shift" not in roles:
            continue
        factor = tensors[roles["gain"]] / (tensors[roles["var"]] + 1e-5).sqrt()
        weight = tensors[block.tensors[0]]
        tensors[block.tensors[0]] = weight * factor.reshape(*factor.shape, *[1] * (weight.ndim - 2))
        bias = tensors[roles["bias"]] if "bias" in roles else torch.zeros_like(factor)
        if "bias" in roles:
            tensors[roles["bias"]] = torch.zeros_like(bias)
        tensors[roles["shift"]] = (bias - tensors[roles["mean"]]) * factor + tensors[roles["shift"]]
        tensors[roles["gain"]], tensors[roles["mean"]] = torch.ones_like(factor), torch.zeros_like(factor)
        tensors[roles["var"]] = torch.full_like(factor, 1 - 1e-5)
        changed = True
    return tensors if changed else None


def change_group(group: NetworkGroup, tensors: Change) -> NetworkGroup:
    """The group with new weights, under their stored names too, so that the changed networks can be run."""
    own = {**group.tensors, **tensors}
    return replace(group, tensors=own, stored=to_stored_names(group.stored, own))
