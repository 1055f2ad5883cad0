"""One forward pass of the whole model that stops at every block: collect its inputs, change it, run it again.

The model itself calls its blocks, so each gets exactly the arguments that this version of the model gives it; nothing
is rebuilt by hand. All sequences travel together and each block takes them one at a time, which bounds the memory by
one block's activations.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.prune.core.inputs import InputStatistics, collect
from digsite.prune.core.layers import Block, LinearMap

Statistics = dict[str, InputStatistics]
Visit = Callable[[Block, Statistics], None]


class Residency(Protocol):
    """Where a block's weights are while it is not running."""

    def load(self, block: Block) -> None: ...
    def release(self, block: Block) -> None: ...


class InMemory:
    """Everything is there all the time."""

    def load(self, block: Block) -> None: ...
    def release(self, block: Block) -> None: ...


class _Done(Exception):
    """The last block has run: what follows (final norm, vocabulary) is not needed."""


@torch.no_grad()
def walk(
    model: nn.Module,
    blocks: list[Block],
    inputs: Tensor,
    visit: Visit,
    *,
    residency: Residency | None = None,
    gram: bool = True,
) -> None:
    """Call `visit(block, statistics)` for every block, on inputs that earlier changes have already passed through."""
    n_sequences = len(inputs)
    if inputs.ndim == 2 and inputs.shape[0] == inputs.shape[1]:
        # Rotary tables (tokens, size) could not be told from a batch: one more sequence, which is not measured.
        inputs = torch.cat([inputs, inputs[:1]])
    todo = {block.name for block in blocks}
    store = residency or InMemory()

    def step(block: Block, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if block.name not in todo:  # a block used twice in one forward is changed at its first use
            return forward(*args, **kwargs)
        todo.discard(block.name)
        store.load(block)
        slices = [(args, kwargs)] if block.whole else list(_sequences(len(inputs), args, kwargs))
        measured = slices if block.whole else slices[:n_sequences]
        visit(block, _collect(block, forward, measured, gram) if block.maps else {})
        result = _join([forward(*a, **k) for a, k in slices])
        store.release(block)
        if not todo:
            raise _Done
        return result

    was_training = model.training
    model.eval()
    with _redirected(blocks, step):
        try:
            _call(model, inputs)
        except _Done:
            pass
        finally:
            model.train(was_training)
    if todo:
        raise UsageError(
            f"The forward pass never reached {len(todo)} of {len(blocks)} layers, first '{min(todo)}'."
        )


def _call(model: nn.Module, inputs: Tensor) -> None:
    config = getattr(model, "config", None)
    # A key-value cache would be filled by the first of the two passes and read by the second.
    model(inputs, use_cache=False) if hasattr(config, "use_cache") else model(inputs)


@contextmanager
def _redirected(blocks: list[Block], step: Callable[..., Any]) -> Iterator[None]:
    try:
        for block in blocks:
            original = block.module.forward

            def forward(*args: Any, _block: Block = block, _original: Any = original, **kwargs: Any) -> Any:
                return step(_block, _original, args, kwargs)

            block.module.forward = forward
        yield
    finally:
        for block in blocks:
            block.module.__dict__.pop("forward", None)


def _collect(block: Block, forward: Callable[..., Any], slices: list[tuple], gram: bool) -> Statistics:
    """Run the block on every slice; maps that read the very same tensor (q, k and v) share their statistics."""
    if block.whole:
        inputs = slices[0][0][0]
        inputs = inputs.flatten(0, -3) if inputs.ndim > 3 else inputs
        return {block.name: collect(inputs, gram=gram, name=f"'{block.name}'")}
    found: Statistics = {}
    owner: dict[str, str] = {}
    seen: dict[int, tuple[str, Tensor]] = {}

    def hook(one: LinearMap) -> Callable[..., None]:
        def take(module: nn.Module, args: tuple) -> None:
            tensor = args[0]
            if one.name not in owner:
                owner[one.name] = seen.setdefault(id(tensor), (one.name, tensor))[0]
                if owner[one.name] == one.name:
                    found[one.name] = InputStatistics.empty(tensor.shape[-1], gram=gram, device=tensor.device)
            if owner[one.name] == one.name:
                found[one.name].update(tensor)

        return take

    handles = [one.module.register_forward_pre_hook(hook(one)) for one in block.maps]
    try:
        for args, kwargs in slices:
            forward(*args, **kwargs)
            seen.clear()
    finally:
        for handle in handles:
            handle.remove()
    return {name: found[first].checked(f"'{name}'") for name, first in owner.items()}


def _sequences(n: int, args: tuple, kwargs: dict[str, Any]) -> Iterator[tuple[tuple, dict[str, Any]]]:
    """The arguments of one sequence at a time: tensors whose first axis is the batch are cut, all others kept."""

    def cut(value: Any, i: int) -> Any:
        if isinstance(value, Tensor):
            return value[i : i + 1] if value.ndim > 1 and len(value) == n else value
        if isinstance(value, tuple | list):
            return type(value)(cut(item, i) for item in value)
        return {key: cut(item, i) for key, item in value.items()} if type(value) is dict else value

    for i in range(n):
        yield cut(args, i), cut(kwargs, i)


def _join(results: list[Any]) -> Any:
    """The outputs of all sequences, in the structure of one."""
    first = results[0]
    if len(results) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(results)
    if isinstance(first, tuple | list):
        return type(first)(_join(list(parts)) for parts in zip(*results, strict=True))
    return first
