"""Attention and MLP reconstructed apart: least squares towards what the *dense network* does there."""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from digsite.prune.core.layers import LinearMap
from digsite.prune.core.repair import Masks, Repair, RepairSettings, Weights
from digsite.prune.core.repair.maps import solve_on_support
from digsite.prune.core.two_streams import Passage, groups_of_readers

CLOSE = (
    2e-2  # relative error up to which writers account for the block; bfloat16 alone makes a few thousandths
)


class _Reached(Exception):
    """The map whose inputs are wanted was called: the rest of the block need not run."""


class SubBlock(Repair):
    """Attention and MLP reconstructed apart: least squares towards what the *dense network* does there.

    Maps are taken in the order in which the block calls them, each on the inputs that the repaired maps before it now
    give. A map that writes into the residual stream (an attention's or an MLP's last) also makes up for what the stream
    has already lost, so errors do not add up from block to block. Which maps write is not read from their names: those
    are taken whose dense outputs add up to what the dense block adds to its input. Where that sum does not come out, no
    stream is corrected and every map only follows its own dense output.
    """

    LEVEL = "block"

    def repair_block(self, passage: Passage, dense: Weights, keeps: Masks, settings: RepairSettings) -> None:
        """Refit every map in place; `dense` are its weights before pruning, `keeps` its mask."""
        writers = find_writers(passage, dense)
        weights = token_weights(passage)
        drifts = [
            settings.correction * (passage.entering(rows, dense=True) - passage.entering(rows))
            for rows in passage.pieces
        ]
        for group in groups_of_readers(passage):
            read = [x.float() for x in inputs_now(passage, group[0])]
            wanted = _mix_inputs(passage.dense_inputs[group[0].name], read, settings.correction)
            gram = sum_products(read, read, weights)
            for linear in group:
                if linear.name not in keeps:
                    continue
                targets = [x @ dense[linear.name].t() for x in wanted]
                if linear.name in writers:
                    targets = [t + drift for t, drift in zip(targets, drifts, strict=True)]
                cross = sum_products(targets, read, weights)
                fitted = solve_on_support(
                    gram,
                    cross,
                    keeps[linear.name],
                    linear.weight.float(),
                    ridge=settings.ridge,
                    steps=settings.solver_steps,
                )
                linear.replace(fitted.to(linear.stored.dtype))
            for linear in group:
                if linear.name in writers:
                    drifts = [
                        drift + x @ dense[linear.name].t() - y @ linear.weight.t()
                        for drift, x, y in zip(drifts, wanted, read, strict=True)
                    ]


def find_writers(passage: Passage, dense: Weights) -> set[str]:
    """Names of the maps whose dense outputs add up to what the dense block adds to the stream; none if they do not."""
    first = passage.pieces[0]
    entering, leaving = passage.entering(first, dense=True), passage.dense_output(first)
    if entering.shape != leaving.shape:
        return set()
    added, last = leaving - entering, _last_of_parts(passage)
    outputs = {}
    for linear in last:
        bias = getattr(linear.module, "bias", None)
        out = passage.dense_inputs[linear.name][0].float() @ dense[linear.name].t()
        outputs[linear.name] = out if bias is None else out + bias
    if not outputs or any(out.shape != added.shape for out in outputs.values()):
        return set()
    missed = (added - torch.stack(list(outputs.values())).sum(0)).norm()
    return set(outputs) if float(missed) <= CLOSE * float(added.norm()) else set()


def _last_of_parts(passage: Passage) -> list[LinearMap]:
    """The last map called in every part (child module) of the block."""
    by_name = {linear.name: linear for linear in passage.block.maps}
    last: dict[str, LinearMap] = {}
    for name in passage.dense_inputs:
        part = name.removeprefix(f"{passage.block.name}.").split(".")[0]
        last[part] = by_name[name]
    return list(last.values())


def token_weights(passage: Passage) -> list[Tensor]:
    """Per sequence, (1, tokens, 1): one over a token's mean square in the dense stream.

    The next block's norm divides by it, so an error counts relative to it; without this, the few tokens whose stream is
    a thousand times larger (a sequence's first) would be all that a fit looks at.
    """
    return [
        1.0 / out.float().square().mean(-1, keepdim=True).clamp_min(1e-12) for out in passage.dense_outputs
    ]


def sum_products(left: list[Tensor], right: list[Tensor], weights: list[Tensor]) -> Tensor:
    """The weighted mean of left^T right over all tokens, (left width, right width)."""
    total = torch.zeros(left[0].shape[-1], right[0].shape[-1])
    weight = 0.0
    for a, b, w in zip(left, right, weights, strict=True):
        total += (a * w).flatten(0, -2).float().t() @ b.flatten(0, -2).float()
        weight += float(w.sum())
    return total / weight


def inputs_now(passage: Passage, linear: LinearMap) -> list[Tensor]:
    """What a map reads in the pruned network now, per sequence; the block stops as soon as it is there."""
    if passage.block.whole:
        return [passage.entering(rows) for rows in passage.pieces]
    read: list[Tensor] = []

    def take(_module: nn.Module, args: tuple) -> None:
        read.append(args[0])
        raise _Reached

    handle = linear.module.register_forward_pre_hook(take)
    try:
        for rows in passage.pieces:
            _run_until(passage.forward, passage.arguments(rows))
    finally:
        handle.remove()
    return read


def _run_until(forward: Callable[..., object], call: tuple[tuple, dict]) -> None:
    """A forward pass that is cut off once it has reached what was wanted."""
    with contextlib.suppress(_Reached):
        forward(*call[0], **call[1])


def _mix_inputs(dense: list[Tensor], now: list[Tensor], share: float) -> list[Tensor]:
    """Between what the dense network gives and what arrives now: fitting on the first alone ignores the damage
    done before.
    """
    return [torch.lerp(b, a.float(), share) for a, b in zip(dense, now, strict=True)]
