"""Traces that an operation leaves in the weights themselves: zeros, levels, rounding, scales. Each is found or it is not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from digsite.read.subjects.network import Network

_BITS = (2, 3, 4, 5, 6, 7, 8)
_MORE_ZEROS = 0.005
_PIECE = 1 << 18  # entries that are held in double precision at once
_ROWS = 1024
_SHORT = (torch.bfloat16, torch.float16)
_ON_GRID = 0.999  # share of entries that must lie on the grid of a rounding


@dataclass(frozen=True)
class Trace:
    """What was done in going from one network to the other, how much, and whether nothing else was done."""

    kind: str
    detail: str
    alone: bool


def derived_marks(network: Network) -> frozenset[str]:
    """Marks of operations whose result is nobody's origin where the original is at hand: zeros, a grid, short floats."""
    marks = set()
    if zero_share(network) > _MORE_ZEROS:
        marks.add("sparse")
    sizes = {k: prod(network.shape(k)) for k in network.matrices}
    # One matrix off the grid is enough, and a vocabulary's embedding is the dearest to ask.
    large = sorted((k for k in sizes if sizes[k] > 64), key=lambda k: sizes[k])
    if large and all(_is_gridded(network.weights[k]) for k in large):
        marks.add("rounded")
    if large and any(all(_is_short(network.weights[k], d) for k in large) for d in _SHORT):
        marks.add("short")
    return frozenset(marks)


def _is_short(weight: Tensor, kind: torch.dtype) -> bool:
    """All entries are numbers of a shorter float."""
    return all(bool((part.to(kind).float() == part).all()) for part in weight.flatten().split(_PIECE))


def _is_gridded(weight: Tensor) -> bool:
    """All entries on the levels of one rounding, which entries that were trained never are."""
    rows = min(
        len(weight), max(_ROWS, _PIECE // max(1, weight[0].numel()))
    )  # of random numbers some are enough
    drawn = torch.randn(rows, *weight.shape[1:], generator=torch.Generator().manual_seed(0))
    return grid_bits(weight, drawn) > 0


def same_zeros(first: Network, second: Network) -> bool:
    """Do the two share one pattern of zeros? Then one was trained on from the other with its mask held."""
    names = [k for k in first.matrices if k in second.weights and second.shape(k) == first.shape(k)]
    differ = sum(int(((first.weights[k] == 0) != (second.weights[k] == 0)).sum()) for k in names)
    return differ < 0.002 * max(1, sum(prod(first.shape(k)) for k in names))


def is_exact_origin(parent: Network, child: Network) -> bool:
    """Do the child's entries follow from the parent's alone: equal where they are not zero, or the parent's in short floats?"""
    names = [k for k in child.matrices if k in parent.weights and parent.shape(k) == child.shape(k)]
    pruned = find_pruning(parent, child, names) if len(names) == len(child.matrices) else None
    if pruned is not None and pruned.alone:
        return True
    return any(
        all(bool((parent.weights[k].to(d).float() == child.weights[k]).all()) for k in names)
        for d in (torch.float16, torch.bfloat16)
    )


def zero_share(network: Network) -> float:
    """Share of exact zeros among the entries of the matrices."""
    others = sum(int(torch.count_nonzero(network.weights[k])) for k in network.matrices)
    return 1 - others / max(1, sum(prod(network.shape(k)) for k in network.matrices))


def find_pruning(parent: Network, child: Network, names: list[str]) -> Trace | None:
    """The child has zeros where the parent has none; `alone` if all its other entries are the parent's."""
    new = total = kept = equal = 0
    for name in names:
        a, b = parent.weights[name], child.weights[name]
        total += a.numel()
        new += int(((b == 0) & (a != 0)).sum())
        stays = b != 0
        kept += int(stays.sum())
        equal += int((a[stays] == b[stays]).sum())
    if not total or new / total < _MORE_ZEROS:
        return None
    alone = equal >= 0.999 * kept
    how = f"{new / total:.0%} of the weights set to zero" + ("" if alone else ", the others changed as well")
    return Trace("pruned", how, alone)


def find_rounding(parent: Network, child: Network, names: list[str]) -> Trace | None:
    """The child's entries are the parent's, rounded: to a shorter float, or to a grid of 2^bits - 1 levels.

    At least half of the matrices of `names` must lie on a grid: files of rounded models leave ends in full precision.
    """
    for dtype, word in (
        (torch.float16, "float16"),
        (torch.bfloat16, "bfloat16"),
        (torch.float8_e4m3fn, "float8"),
    ):
        if all(bool((parent.weights[k].to(dtype).float() == child.weights[k]).all()) for k in names):
            moved = any(not torch.equal(parent.weights[k], child.weights[k]) for k in names)
            return Trace("quantised", f"rounded to {word}", True) if moved else None
    grids = [
        bits
        for k in names
        if prod(child.shape(k)) > 64 and (bits := grid_bits(child.weights[k], parent.weights[k]))
    ]
    eligible = sum(prod(child.shape(k)) > 64 for k in names)
    if not eligible or len(grids) < max(1, eligible / 2):
        return None
    return Trace("quantised", f"rounded to {max(set(grids), key=grids.count)} bits", True)


def grid_bits(child: Tensor, parent: Tensor) -> int:
    """Bits of the grid that all entries of `child` lie on while those of `parent` do not; 0 where there is none.

    Tried for one scale per tensor, per row and per column; symmetric grids (through zero, the largest entry on the
    last level) and grids between the smallest and the largest entry. Where blocks have scales of their own, few
    different values within rows give the rounding away.
    """
    for whole, turned in ((True, False), (False, False), (False, True)):
        a, b = (t.reshape(1, -1) if whole else t.flatten(1) for t in (parent, child))
        a, b = (a.T, b.T) if turned else (a, b)
        if b.shape[1] < 6:
            continue
        for bits in _BITS:
            if _lies_on_grid(b, bits, _ON_GRID) and not _lies_on_grid(a, bits, 0.9):
                return bits
    return _bits_of_levels(child) if _bits_of_levels(parent) == 0 else 0


def _lies_on_grid(rows: Tensor, bits: int, least: float) -> bool:
    """Whether at least this share of entries lies on a symmetric or on an asymmetric grid of this many bits."""
    low, high = rows.amin(1, keepdim=True).double(), rows.amax(1, keepdim=True).double()
    top = torch.maximum(-low, high).clamp_min(1e-30)
    grids = (
        (top / (2 ** (bits - 1) - 1) if bits > 1 else top, torch.zeros_like(low)),
        (((high - low) / (2**bits - 1)).clamp_min(1e-30), low),
    )
    return any(_fits_steps(rows, step, zero, least) for step, zero in grids)


def _fits_steps(rows: Tensor, step: Tensor, zero: Tensor, least: float) -> bool:
    """A piece at a time in double precision, until too many are off: of a vocabulary's embedding a whole copy would be a
    model of its own, and most matrices are off the grid from their first piece on.
    """
    along = 1 if len(rows) == 1 else 0
    size = max(1, _PIECE // max(1, rows.shape[1 - along]))
    total, missed = rows.numel(), 0
    for at in range(0, rows.shape[along], size):
        piece = rows.narrow(along, at, min(size, rows.shape[along] - at)).double()
        here = (slice(None), slice(None)) if along else (slice(at, at + size), slice(None))
        cell = (piece - zero[here]) / step[here]
        missed += int((~((cell - cell.round()).abs() < 0.02)).sum())
        if (total - missed) / total < least:
            return False
    return True


def _bits_of_levels(weight: Tensor) -> int:
    """Where blocks have scales of their own: bits of the different values in a row, if most values occur again."""
    rows = weight.flatten(1)[:64]
    seen = [(len(torch.unique(r[r != 0])), int((r != 0).sum())) for r in rows]
    seen = [(levels, entries) for levels, entries in seen if entries >= 24]
    if not seen or sum(levels < entries / 2 for levels, entries in seen) < 0.9 * len(seen):
        return 0
    return max(2, min(8, math.ceil(math.log2(1 + sum(levels for levels, _ in seen) / len(seen)))))


def find_rescaling(
    parent: Network, child: Network, names: list[str], partners: Mapping[str, str] | None = None
) -> Trace | None:
    """Rows and columns multiplied by factors, nothing else: every entry's log ratio is a row's plus a column's term.

    `names` are tensors of the parent, `partners` what each is called in the child, None for the same names.
    """
    worst = spread = 0.0
    for name in names:
        other = partners[name] if partners else name
        a, b = parent.weights[name].flatten(1).double(), child.weights[other].flatten(1).double()
        both = (a != 0) & (b != 0)
        if bool(((a != 0) != (b != 0)).any()) or float(both.double().mean()) < 0.5:
            return None
        ratio = torch.where(both, (b / torch.where(both, a, 1.0)).abs().clamp(1e-6, 1e6).log(), 0.0)
        if bool((~both).any()):
            continue
        left = ratio - ratio.mean(0, keepdim=True) - ratio.mean(1, keepdim=True) + ratio.mean()
        worst, spread = (
            max(worst, float(left.std(unbiased=False))),
            max(spread, float(ratio.std(unbiased=False))),
        )
        spread = max(spread, float(ratio.mean().abs()))
    return (
        Trace("rescaled copy", "rows and columns multiplied by factors", True)
        if spread > 1e-3 and worst < 1e-3
        else None
    )
