"""Dropout whose masks come from each member's own stream, so that it does not matter who trains beside it."""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from digsite.base.streams import derive_seed
from digsite.train.member import Member

BLOCK_BITS = 1 << 16  # draws per generator: making a generator costs more than a few thousand draws


class MaskedDropout(nn.Module):
    """Multiplies by the buffer `mask`; with mask 1 (the stored value) it is the identity."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`mask` has the shape of x, or is one: then nothing is dropped."""
        return x * self.mask


def replace_dropout(model: nn.Module) -> dict[str, float]:
    """Swap every nn.Dropout for a MaskedDropout; returns the rates by module name."""
    rates = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    for name in rates:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, MaskedDropout())
    return rates


def mask_shapes(model: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """What each MaskedDropout receives for the batch `x`, by module name, the batch axis included."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> object:
        return lambda _module, inputs: shapes.__setitem__(name, tuple(inputs[0].shape))

    named = [(name, module) for name, module in model.named_modules() if isinstance(module, MaskedDropout)]
    handles = [module.register_forward_pre_hook(note(name)) for name, module in named]  # type: ignore[arg-type]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return shapes


class Masks:
    """Dropout masks (K, batch, ...) of a group by layer, drawn in blocks of steps from 16-bit thresholds."""

    def __init__(self, members: Sequence[Member], rates: dict[str, float], like: Tensor) -> None:
        self.members, self.like = members, like
        self.rates = {
            name: [rate if m.dropout is None else m.dropout for m in members] for name, rate in rates.items()
        }
        # A layer's stream is its place in the model, whatever the others of the group do with it.
        self.place = {name: index for index, name in enumerate(rates)}
        self.rates = {name: values for name, values in self.rates.items() if any(values)}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._blocks: dict[str, tuple[int, list[np.ndarray | None]]] = {}

    def __bool__(self) -> bool:
        return bool(self.rates)

    def at(self, step: int, active: int) -> dict[str, Tensor]:
        """Masks of `step` by buffer name; members without dropout get ones."""
        return {f"{name}.mask": self._mask_layer(name, step, active) for name in self.rates}

    def _mask_layer(self, name: str, step: int, active: int) -> Tensor:
        """(active, *shape): zero where dropped, 1 / (1 - rate) elsewhere, the rate rounded to a 65,536th."""
        shape = self.shapes[name]
        count = prod(shape)
        span = max(1, min(16, BLOCK_BITS // count))
        block, offset = divmod(step, span)
        if self._blocks.get(name, (-1,))[0] != block:
            self._blocks[name] = (block, self._draw_block(name, block, span * count))
        out = np.ones((active, count), np.float32)
        for row, bits, rate in zip(out, self._blocks[name][1][:active], self.rates[name], strict=False):
            if bits is not None:
                threshold = round(rate * 65536)
                keep = bits[offset * count : (offset + 1) * count] >= threshold
                np.multiply(keep, np.float32(65536 / (65536 - threshold)), out=row)
        return torch.from_numpy(out.reshape(active, *shape)).to(self.like)

    def _draw_block(self, name: str, block: int, count: int) -> list[np.ndarray | None]:
        """16 random bits per value and step for each member with dropout, from a stream addressed by member,
        layer and block.
        """

        def bits(member: Member) -> np.ndarray:
            source = np.random.SFC64(derive_seed(member.seed, "dropout", self.place[name], block))
            return np.asarray(source.random_raw(-(-count // 4))).view(np.uint16)

        return [bits(m) if rate else None for m, rate in zip(self.members, self.rates[name], strict=True)]
