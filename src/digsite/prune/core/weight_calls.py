"""Inputs of maps that are not called as modules: experts of a fused stack, weights that a kernel takes.

Below every way to write y = x W^T lies one of a handful of matrix products. Watching those finds the weight by the
memory it lies in, so a map is measured however the model calls it, and nothing about the model is rebuilt by hand.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from digsite.prune.core.layers import LinearMap

Take = Callable[[LinearMap, Tensor], None]
_ATEN: Any = torch.ops.aten
PLAIN = {_ATEN.mm.default: 0, _ATEN.bmm.default: 0, _ATEN.addmm.default: 1, _ATEN.baddbmm.default: 1}


class WeightCalls(TorchDispatchMode):
    """While active, `take(map, inputs)` is called with (tokens, in) whenever one of `maps` is used in a product.

    Maps for which `skip` says yes are passed over: a module's own hook has seen their inputs already.
    """

    def __init__(self, maps: Sequence[LinearMap], take: Take, skip: Callable[[LinearMap], bool]) -> None:
        super().__init__()
        self.take, self.skip = take, skip
        self.places: dict[int, list[tuple[int, int, LinearMap]]] = {}
        for one in maps:
            stored = one.stored
            start = int(stored.storage_offset())
            place = (start, start + stored.numel(), one)
            self.places.setdefault(stored.untyped_storage().data_ptr(), []).append(place)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = PLAIN.get(func)
        if first is not None:
            self._look(args[first], args[first + 1])
        return func(*args, **(kwargs or {}))

    def _look(self, left: Tensor, right: Tensor) -> None:
        for one, stack in self._found(right):
            self._give(one, left, stack, right)
        for one, stack in self._found(left):
            self._give(one, right.transpose(-1, -2), stack, left)

    def _found(self, operand: Tensor) -> list[tuple[LinearMap, bool]]:
        """Maps that this operand is, holds or lies in; the flag tells a whole stack of experts."""
        places = self.places.get(operand.untyped_storage().data_ptr(), ())
        start = operand.storage_offset()
        stop = start + sum((n - 1) * step for n, step in zip(operand.shape, operand.stride())) + 1
        return [
            (one, one.routed and operand.ndim == 3 and len(operand) == len(one.tensor))
            for low, high, one in places
            if low < stop and start < high and not self.skip(one)
        ]

    def _give(self, one: LinearMap, inputs: Tensor, stack: bool, weight: Tensor) -> None:
        if stack:
            assert one.expert is not None
            inputs = inputs[one.expert]
        elif weight.ndim == 3 and weight.stride(0) == 0:  # one matrix expanded over the batch
            inputs = inputs.reshape(-1, inputs.shape[-1])
        if inputs.shape[-1] == one.n_inputs and inputs.numel():
            self.take(one, inputs)
