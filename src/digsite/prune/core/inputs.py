"""What calibration leaves of a map's inputs: one pass gives the norms and X^T X that every method needs.

Most maps are called as modules and tell their inputs to a hook; for the others (experts of a fused stack, weights that a
kernel takes) the matrix products themselves are watched.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from digsite.base.errors import UsageError
from digsite.prune.core.layers import LinearMap


@dataclass
class InputStatistics:
    """Running means over calibration sequences, in float32 and in the order of the published implementations.

    `square_norms` is the mean over sequences of every input channel's squared norm (Wanda), `hessian` is
    (2/n) sum X^T X (SparseGPT). Both follow the published recurrences step for step, so masks can agree bit for bit.
    `sample` holds some evenly spaced inputs: where nothing needs X^T X, which costs more than the pruning itself, the
    output error is measured on them.
    """

    square_norms: Float[Tensor, "inputs"]
    hessian: Float[Tensor, "inputs inputs"] | None
    n_sequences: int = 0
    n_tokens: int = 0
    sample: Float[Tensor, "tokens inputs"] | None = None
    per_batch: int = 0  # inputs of each batch that go into the sample

    @classmethod
    def empty(
        cls, n_inputs: int, *, gram: bool = True, device: torch.device | str = "cpu", per_batch: int = 0
    ) -> "InputStatistics":
        """Nothing seen yet; without `gram` only the norms are added up, which is (in,) instead of (in, in)."""
        hessian = torch.zeros(n_inputs, n_inputs, device=device) if gram else None
        return cls(torch.zeros(n_inputs, device=device), hessian, per_batch=per_batch)

    @classmethod
    def unknown(cls, n_inputs: int, device: torch.device | str = "cpu") -> "InputStatistics":
        """Inputs of equal size and no correlation, for a map that no data reached: methods then go by magnitude."""
        return cls(torch.ones(n_inputs, device=device), 2 * torch.eye(n_inputs, device=device), 1, 1)

    @property
    def n_inputs(self) -> int:
        """Width of the map's input."""
        return len(self.square_norms)

    @property
    def norms(self) -> Float[Tensor, "inputs"]:
        """|X_j| of every input: the root of its summed squares over all tokens."""
        return self.square_norms.sqrt()

    @property
    def gram(self) -> Float[Tensor, "inputs inputs"]:
        """X^T X divided by the number of sequences."""
        assert self.hessian is not None, "these statistics were collected without X^T X"
        return self.hessian / 2

    def update(self, inputs: Float[Tensor, "... tokens inputs"]) -> None:
        """Add one batch: (tokens, inputs) is one sequence, (sequences, tokens, inputs) is several at once."""
        batch = 1 if inputs.ndim < 3 else inputs.shape[0]
        # The transposed view is kept: the order in which a norm is summed follows the memory layout.
        columns = inputs.reshape(-1, inputs.shape[-1]).t()
        seen = self.n_sequences + batch
        self.square_norms *= self.n_sequences / seen
        low = _precision_of_pass(columns.device.type) != torch.float32
        # Nothing published sums in bfloat16's order, and this way is five times as fast.
        squares = columns.float().square().sum(1) if low else torch.norm(columns.float(), p=2, dim=1) ** 2
        self.square_norms += squares / seen
        if self.hessian is not None:
            scaled = math.sqrt(2 / seen) * columns.float()
            self.hessian *= self.n_sequences / seen
            self.hessian += _outer_sum(scaled)
        if self.per_batch:
            step, length = max(1, columns.shape[1] // self.per_batch), max(1, columns.shape[1] // batch)
            token = torch.arange(columns.shape[1], device=columns.device)
            # Other places in every sequence: a first token is unlike all others.
            some = columns.t()[(token % length - self.n_sequences - token // length) % step == 0]
            # An error is a ratio of two sums: kept in the precision of the pass, it costs no more than the pass does.
            some = some.to(_precision_of_pass(columns.device.type))
            self.sample = some.clone() if self.sample is None else torch.cat([self.sample, some])
        self.n_sequences = seen
        self.n_tokens += columns.shape[1]

    def checked(self, name: str = "the layer") -> "InputStatistics":
        """These statistics, if they can be used: some tokens were seen and every number is finite."""
        if self.n_tokens == 0:
            raise UsageError(
                f"No calibration inputs reached {name}.", hint="Check that the layer is used in the forward."
            )
        bad = (~self.square_norms.isfinite()).nonzero().flatten()
        if len(bad):
            raise UsageError(
                f"The calibration inputs of {name} are not finite in {len(bad)} of {self.n_inputs} channels "
                f"(first: channel {int(bad[0])}).",
                hint="Look for NaN or overflow in the model or its data type; pruning on them would mean nothing.",
            )
        return self


def _precision_of_pass(device: str) -> torch.dtype:
    """What products are made in here and now."""
    low = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return torch.bfloat16 if low else torch.float32


def _outer_sum(columns: Float[Tensor, "inputs tokens"]) -> Float[Tensor, "inputs inputs"]:
    """X X^T. It is symmetric, which numpy's product sees and torch's does not: half of the work on a CPU."""
    if columns.device.type != "cpu":
        return columns.matmul(columns.t())
    array = columns.numpy()
    return torch.from_numpy(array @ array.T)


def collect_inputs(
    inputs: Float[Tensor, "..."], *, gram: bool = True, name: str = "the layer", per_batch: int = 0
) -> InputStatistics:
    """Statistics of (tokens, inputs), or of (sequences, tokens, inputs) taken one sequence at a time."""
    if inputs.ndim not in (2, 3) or 0 in inputs.shape:
        raise UsageError(
            f"Inputs are (tokens, in) or (sequences, tokens, in); got shape {tuple(inputs.shape)}."
        )
    per_batch = per_batch * len(inputs) if inputs.ndim == 2 else per_batch
    statistics = InputStatistics.empty(inputs.shape[-1], gram=gram, device=inputs.device, per_batch=per_batch)
    for sequence in inputs if inputs.ndim == 3 else inputs[None]:
        statistics.update(sequence)
    return statistics.checked(name)


# In which precision a pass through the blocks multiplies.

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def kind_of(precision: str) -> torch.dtype | None:
    """The type that products are made in; None leaves them as they are."""
    if precision not in PRECISIONS:
        raise UsageError(f"The precision '{precision}' is unknown; accepted are {', '.join(PRECISIONS)}.")
    return PRECISIONS[precision]


def in_precision(forward: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """The same function with its matrix products in the named precision; what is summed up of inputs stays float32."""
    kind = kind_of(precision)
    if kind is None:
        return forward

    def cast(*args: Any, **kwargs: Any) -> Any:
        where = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        with torch.autocast(where, kind):
            return forward(*args, **kwargs)

    return cast


@contextmanager
def matrices_in(maps: Sequence[LinearMap], precision: str) -> Iterator[None]:
    """While it is open the matrices of `maps` lie in `precision`: left to autocast, each would be cast anew for every call."""
    kind = kind_of(precision)
    wide = {} if kind is None else {id(linear.tensor): (linear.tensor, linear.tensor.data) for linear in maps}
    try:
        for parameter, data in wide.values():
            parameter.data = data.to(kind)
        yield
    finally:
        for parameter, data in wide.values():
            parameter.data = data


# Inputs of maps that are not called as modules: experts of a fused stack, weights that a kernel takes.
#
# Below every way to write y = x W^T lies one of a handful of matrix products. Watching those finds the weight by the
# memory it lies in, so a map is measured however the model calls it, and nothing about the model is rebuilt by hand.

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
        for linear in maps:
            stored = linear.stored
            start = int(stored.storage_offset())
            span = (start, start + stored.numel(), linear)
            self.places.setdefault(stored.untyped_storage().data_ptr(), []).append(span)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every product is looked at below the modules, since fused blocks multiply without calling one."""
        first = PLAIN.get(func)
        if first is not None:
            self._look(args[first], args[first + 1])
        return func(*args, **(kwargs or {}))

    def _look(self, left: Tensor, right: Tensor) -> None:
        """A weight may be either factor."""
        for linear, stack in self._found(right):
            self._give(linear, left, stack, right)
        for linear, stack in self._found(left):
            self._give(linear, right.transpose(-1, -2), stack, left)

    def _found(self, operand: Tensor) -> list[tuple[LinearMap, bool]]:
        """Maps that this operand is, holds or lies in; the flag tells a whole stack of experts."""
        places = self.places.get(operand.untyped_storage().data_ptr(), ())
        start = operand.storage_offset()
        stop = start + sum((n - 1) * step for n, step in zip(operand.shape, operand.stride())) + 1
        return [
            (linear, linear.routed and operand.ndim == 3 and len(operand) == len(linear.tensor))
            for low, high, linear in places
            if low < stop and start < high and not self.skip(linear)
        ]

    def _give(self, linear: LinearMap, inputs: Tensor, stack: bool, weight: Tensor) -> None:
        """Rows that this map multiplied; of a stack of experts its own slice."""
        if stack:
            assert linear.expert is not None
            inputs = inputs[linear.expert]
        elif weight.ndim == 3 and weight.stride(0) == 0:  # one matrix expanded over the batch
            inputs = inputs.reshape(-1, inputs.shape[-1])
        if inputs.shape[-1] == linear.n_inputs and inputs.numel():
            self.take(linear, inputs)
