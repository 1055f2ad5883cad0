"""One forward pass that carries the dense network beside the pruned one, block by block.

Every sequence is given twice. The first copy passes through the pruned blocks, the second through the dense ones, and
whatever the model computes between its blocks is done to both, so nothing is rebuilt by hand and no second model is
held. A repair that wants to know what the dense network does here finds it in the `Passage`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.prune.core.layers import LayerBlock, LinearMap
from digsite.prune.core.walk import (
    InMemory,
    Residency,
    Statistics,
    _BlocksDone,
    _collect_statistics,
    _join_outputs,
    _plain_kernels,
    _redirect_blocks,
    in_precision,
    run_batch,
)

Call = tuple[tuple, dict[str, Any]]


@dataclass
class Passage:
    """A block on its way: how to run it, and its `n` sequences in the pruned and in the dense network.

    `dense_inputs` holds, for every map, what it read in the dense network, one tensor (rows, tokens, in) per piece; a
    piece is one sequence, or the whole batch where the block is a single map of a plain network.
    """

    block: LayerBlock
    forward: Callable[..., Any]
    call: Call
    n: int
    n_rows: int
    dense_outputs: list[Tensor] = field(default_factory=list)
    dense_inputs: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def pieces(self) -> list[list[int]]:
        """The rows that pass through the block together."""
        return [list(range(self.n))] if self.block.whole else [[row] for row in range(self.n)]

    def arguments(self, rows: Sequence[int], *, dense: bool = False) -> Call:
        """The block's arguments for some sequences, of the pruned network or of the dense one."""
        index = torch.as_tensor([row + (self.n if dense else 0) for row in rows])
        return tuple(_rows_of(a, index, self.n_rows) for a in self.call[0]), {
            key: _rows_of(value, index, self.n_rows) for key, value in self.call[1].items()
        }

    def output(self, rows: Sequence[int]) -> Tensor:
        """What the block says now about some sequences of the pruned network, (rows, tokens, width)."""
        args, kwargs = self.arguments(rows)
        return main_tensor(self.forward(*args, **kwargs))

    def dense_output(self, rows: Sequence[int]) -> Tensor:
        """What the dense block says about the same sequences behind the dense blocks."""
        return (
            self.dense_outputs[0][list(rows)]
            if self.block.whole
            else torch.cat([self.dense_outputs[r] for r in rows])
        )

    def entering(self, rows: Sequence[int], *, dense: bool = False) -> Tensor:
        """The residual stream in front of the block."""
        args, kwargs = self.arguments(rows, dense=dense)
        return args[0] if args else kwargs["hidden_states"]


Visit = Callable[[Passage, Statistics], None]


@torch.no_grad()
def walk_both(
    model: nn.Module,
    blocks: list[LayerBlock],
    inputs: Tensor,
    visit: Visit,
    *,
    residency: Residency | None = None,
    gram: bool = True,
    precision: str = "float32",
) -> None:
    """Call `visit(passage, statistics)` for every block; the weights of later blocks are still the dense ones.

    With precision 'bfloat16' blocks run in it, at half the cost; statistics are summed in float32 all the same.
    """
    n = len(inputs)
    doubled = torch.cat([inputs, inputs])
    if doubled.ndim == 2 and len(doubled) == doubled.shape[1]:
        doubled = torch.cat([doubled, inputs[:1]])  # see `walk`: rotary tables could be mistaken for a batch
    todo, store = {block.name for block in blocks}, residency or InMemory()

    def step(block: LayerBlock, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if block.name not in todo:
            return forward(*args, **kwargs)
        todo.discard(block.name)
        store.load(block)
        passage = Passage(block, in_precision(forward, precision), (args, kwargs), n, len(doubled))
        dense = _run_dense(passage)
        student = [passage.arguments(rows) for rows in passage.pieces]
        visit(passage, _collect_statistics(block, passage.forward, student, gram=gram) if block.maps else {})
        results = [passage.forward(*a, **k) for a, k in student] + dense
        store.release(block)
        if not todo:
            raise _BlocksDone
        return _join_outputs(results)

    was_training = model.training
    model.eval()
    with _redirect_blocks(blocks, step), _plain_kernels(model):
        try:
            run_batch(model, doubled)
        except _BlocksDone:
            pass
        finally:
            model.train(was_training)
    if todo:
        raise UsageError(
            f"The forward pass never reached {len(todo)} of {len(blocks)} layers, first '{min(todo)}'."
        )


def _run_dense(passage: Passage) -> list[Any]:
    """The dense block on the dense stream: its outputs, and what every map in it read."""
    block, n_dense = passage.block, passage.n_rows - passage.n
    if block.whole:
        args, kwargs = passage.arguments(range(n_dense), dense=True)
        passage.dense_inputs[block.name] = [args[0][: passage.n]]
        results = [passage.forward(*args, **kwargs)]
        passage.dense_outputs.append(results[0][: passage.n])
        return results
    results = []
    with reading_inputs(block.maps, passage.dense_inputs):
        for row in range(n_dense):
            args, kwargs = passage.arguments([row], dense=True)
            results.append(passage.forward(*args, **kwargs))
    passage.dense_outputs.extend(main_tensor(result) for result in results[: passage.n])
    for read in passage.dense_inputs.values():
        del read[passage.n :]
    return results


@contextmanager
def reading_inputs(maps: Sequence[LinearMap], into: dict[str, list[Tensor]]) -> Iterator[None]:
    """While it is open, what every map reads is appended to `into`; maps that read one tensor share it."""

    def hook(name: str) -> Callable[..., None]:
        def take(_module: nn.Module, args: tuple) -> None:
            into.setdefault(name, []).append(args[0])

        return take

    handles = [linear.module.register_forward_pre_hook(hook(linear.name)) for linear in maps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def groups_of_readers(passage: Passage) -> list[list[LinearMap]]:
    """The maps in the order in which they are called; those that read the very same tensor (q, k, v) together."""
    groups: dict[int, list[LinearMap]] = {}
    by_name = {linear.name: linear for linear in passage.block.maps}
    for name, read in passage.dense_inputs.items():
        groups.setdefault(read[0].data_ptr(), []).append(by_name[name])
    return list(groups.values())


def main_tensor(output: Any) -> Float[Tensor, "..."]:
    """The residual stream in what a block returns: the tensor itself, or the first of a tuple."""
    return output if isinstance(output, Tensor) else output[0]


def _rows_of(value: Any, index: Tensor, n_rows: int) -> Any:
    """Tensors whose first axis is the batch are cut, all others kept (as `walk` does, for any rows)."""
    if isinstance(value, Tensor):
        return value[index] if value.ndim > 1 and len(value) == n_rows else value
    if isinstance(value, tuple | list):
        return type(value)(_rows_of(item, index, n_rows) for item in value)
    return (
        {key: _rows_of(item, index, n_rows) for key, item in value.items()} if type(value) is dict else value
    )
