"""One forward pass of the whole model that stops at every block: collect its inputs, change it, run it again.

The model itself calls its blocks, so each gets exactly the arguments that this version of the model gives it; nothing
is rebuilt by hand. All sequences travel together and each block takes about a thousand tokens of them at a time, which
bounds the memory by one block's activations: single short sequences leave a processor waiting, all of them at once do not
fit into its caches.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from inspect import signature
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.prune.core.inputs import (
    InputStatistics,
    WeightCalls,
    collect_inputs,
    in_precision,
    kind_of,
    matrices_in,
)
from digsite.prune.core.layers import LayerBlock, LinearMap, linear_map, list_blocks

Statistics = dict[str, InputStatistics]
Visit = Callable[[LayerBlock, Statistics], None]
Batch = Tensor | Mapping[str, Any]


AT_ONCE = 1024  # tokens of short sequences that a block takes together


@contextmanager
def blocks_in(model: nn.Module, precision: str) -> Iterator[None]:
    """While it is open the model's blocks multiply in `precision`; the vocabulary and the loss stay as they are."""
    if kind_of(precision) is None:
        yield
        return
    blocks = list_blocks(model)

    def step(_block: LayerBlock, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        return in_precision(forward, precision)(*args, **kwargs)

    with (
        matrices_in([linear for block in blocks for linear in block.maps], precision),
        _redirect_blocks(blocks, step),
    ):
        yield


class Residency(Protocol):
    """Where a block's weights are while it is not running."""

    def load(self, block: LayerBlock) -> None:
        """Before a block is run."""

    def release(self, block: LayerBlock) -> None:
        """After it was run for the last time."""


class InMemory:
    """Everything is there all the time."""

    def load(self, block: LayerBlock) -> None:
        """It is there."""

    def release(self, block: LayerBlock) -> None:
        """It stays."""


class _BlocksDone(Exception):
    """The last block has run: what follows (final norm, vocabulary) is not needed."""


class _InputsSeen(Exception):
    """The last map of a block has its inputs: what it would make of them is not needed."""


@torch.no_grad()
def walk_blocks(
    model: nn.Module,
    blocks: list[LayerBlock],
    inputs: Batch,
    visit: Visit,
    *,
    residency: Residency | None = None,
    gram: bool = True,
    sample: int = 0,
    known: Callable[[LayerBlock], bool] = lambda block: False,
    missed: list[str] | None = None,
    precision: str = "float32",
) -> None:
    """Call `visit(block, statistics)` for every block, on inputs that earlier changes have already passed through.

    `inputs` is a batch, or what the model's forward takes by name. A block that is `known` is not measured: its visit
    gets no statistics. `gram` collects X^T X of every map, `sample` keeps about that many of its inputs. Blocks that
    this forward pass never reaches are an error, or go into `missed` where it is given. `precision` is that of the
    blocks' matrix products.
    """
    n_sequences, inputs = _make_unmistakable(inputs)
    todo = {block.name for block in blocks}
    store = residency or InMemory()
    in_order = not _batch_first(model)

    def step(block: LayerBlock, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if block.name not in todo:  # a block used twice in one forward is changed at its first use
            return forward(*args, **kwargs)
        todo.discard(block.name)
        store.load(block)
        forward = in_precision(forward, precision)
        slices, measured = [(args, kwargs)], 1
        if not (block.whole or in_order):
            slices, measured = _cut_sequences(n_sequences, n_rows_of(inputs), args, kwargs)
        statistics: Statistics = {}
        if block.maps and not known(block):
            with matrices_in(block.maps, precision):
                seen = slices[:measured]
                statistics = _collect_statistics(block, forward, seen, gram, -(-sample // measured))
        visit(block, statistics)
        if not todo:
            store.release(block)
            raise _BlocksDone
        with matrices_in(block.maps, precision):
            result = _join_outputs([forward(*a, **k) for a, k in slices])
        store.release(block)
        return result

    _run_until_done(model, blocks, inputs, step)
    _note_missed(blocks, todo, missed)


def _run_until_done(
    model: nn.Module, blocks: list[LayerBlock], inputs: Batch, step: Callable[..., Any]
) -> None:
    """One forward pass in which `step` stands in for every block; it ends with the last block, before the vocabulary."""
    was_training = model.training
    model.eval()
    with _redirect_blocks(blocks, step), _plain_kernels(model):
        try:
            run_batch(model, inputs)
        except _BlocksDone:
            pass
        finally:
            model.train(was_training)


def _note_missed(blocks: list[LayerBlock], todo: set[str], missed: list[str] | None) -> None:
    """Layers that the pass did not reach are given back, or are an error where nobody asks for them."""
    if missed is not None:
        missed += [block.name for block in blocks if block.name in todo]
    elif todo:
        raise UsageError(
            f"The forward pass never reached {len(todo)} of {len(blocks)} layers, first '{min(todo)}'."
        )


def n_rows_of(inputs: Batch) -> int:
    """How many sequences, images or rows a batch has."""
    if isinstance(inputs, Tensor):
        return len(inputs)
    return next(len(value) for value in inputs.values() if isinstance(value, Tensor) and value.ndim)


def _make_unmistakable(inputs: Batch) -> tuple[int, Batch]:
    """Rotary tables (tokens, size) could not be told from a batch of as many: one more row, which is not measured."""
    n = n_rows_of(inputs)
    if isinstance(inputs, Tensor):
        clash = inputs.ndim == 2 and inputs.shape[0] == inputs.shape[1]
        return n, torch.cat([inputs, inputs[:1]]) if clash else inputs
    batched = {k: v for k, v in inputs.items() if isinstance(v, Tensor) and v.ndim and len(v) == n}
    if not any(n in value.shape[1:] for value in batched.values()):
        return n, inputs
    return n, {**inputs, **{key: torch.cat([value, value[:1]]) for key, value in batched.items()}}


def _batch_first(model: nn.Module) -> bool:
    """Attention of torch itself puts tokens first unless told otherwise; then sequences cannot be cut apart."""
    return all(getattr(module, "batch_first", True) for module in model.modules())


def run_batch(model: nn.Module, inputs: Batch) -> Any:
    """One forward pass without a cache: named inputs as far as the forward takes them, a bare batch as it is."""
    config = getattr(model, "config", None)
    # A key-value cache would be filled by the first of the two passes and read by the second.
    extra = {"use_cache": False} if hasattr(config, "use_cache") else {}
    if isinstance(inputs, Tensor):
        return model(inputs, **extra)
    taken = signature(model.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    return model(**{key: value for key, value in {**inputs, **extra}.items() if anything or key in taken})


@contextmanager
def _plain_kernels(model: nn.Module) -> Iterator[None]:
    """Experts one after the other and no fused encoder layer: the same numbers by products that can be watched."""
    key = "_experts_implementation"
    configs = {id(c): c for m in model.modules() if hasattr(c := getattr(m, "config", None), key)}
    before = {where: getattr(config, key) for where, config in configs.items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for config in configs.values():
            setattr(config, key, "eager")
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for where, config in configs.items():
            setattr(config, key, before[where])


@contextmanager
def _redirect_blocks(blocks: list[LayerBlock], step: Callable[..., Any]) -> Iterator[None]:
    """For the length of the walk each block's forward is ours; hooks would not do, for a block must be run
    twice.
    """
    own = {id(block.module): block.module.__dict__.get("forward") for block in blocks}
    try:
        for block in blocks:
            original = block.module.forward

            def forward(
                *args: Any, _block: LayerBlock = block, _original: Any = original, **kwargs: Any
            ) -> Any:
                return step(_block, _original, args, kwargs)

            block.module.forward = forward
        yield
    finally:
        for block in blocks:
            block.module.__dict__.pop("forward", None)
            if (before := own[id(block.module)]) is not None:
                block.module.forward = before


def _collect_statistics(
    block: LayerBlock, forward: Callable[..., Any], slices: list[tuple], gram: bool, per_batch: int = 0
) -> Statistics:
    """Run the block on every slice; maps that read the very same tensor (q, k and v) share their statistics.

    Maps that no module call shows on the first slice (a kernel takes their weight, or no token was routed to them) are
    watched for in the matrix products of all of them.
    """
    if block.whole and block.maps[0].parameter == "weight":
        inputs = slices[0][0][0] if slices[0][0] else next(iter(slices[0][1].values()))
        inputs = inputs.flatten(0, -3) if inputs.ndim > 3 else inputs
        return {block.name: collect_inputs(inputs, gram=gram, name=f"'{block.name}'", per_batch=per_batch)}
    ledger = _InputLedger(gram, per_batch)
    called = [linear for linear in block.maps if linear_map(linear.name, linear.module) is not None]
    handles = [linear.module.register_forward_pre_hook(ledger.hook(linear)) for linear in called]
    handles += [linear.module.register_forward_hook(ledger.leave) for linear in called]
    try:
        for position, (args, kwargs) in enumerate(slices):
            unseen = [linear for linear in block.maps if linear.name not in ledger.called]
            with ExitStack() as watching:
                if position == 0 or unseen:
                    watching.enter_context(WeightCalls(block.maps, ledger.take, ledger.by_module))
                _until_seen(forward, args, kwargs)
            if position == 0:
                ledger.stop_after_the_last(block.maps)
            ledger.seen.clear()
    finally:
        for handle in handles:
            handle.remove()
    return {name: ledger.found[first].checked(f"'{name}'") for name, first in ledger.owner.items()}


def _until_seen(forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> None:
    """A pass for the inputs alone stops once the last map has been reached."""
    with suppress(_InputsSeen):
        forward(*args, **kwargs)


class _InputLedger:
    """What the maps of one block have read so far; `owner` names the map whose statistics a map shares."""

    def __init__(self, gram: bool, per_batch: int) -> None:
        self.gram, self.per_batch = gram, per_batch
        self.found: Statistics = {}
        self.owner: dict[str, str] = {}
        self.called: set[str] = set()  # by their module
        self.seen: dict[int, tuple[str, Tensor]] = {}
        self.order: list[str] = []
        self.inside: LinearMap | None = None
        self.last: str | None = None

    def hook(self, linear: LinearMap) -> Callable[..., None]:
        """What a map is called with, noted before it is used."""

        def enter(module: nn.Module, args: tuple) -> None:
            self.called.add(linear.name)
            self.order.append(linear.name)
            self.take(linear, args[0])
            if linear.name == self.last:
                raise _InputsSeen
            self.inside = linear

        return enter

    def leave(self, *_: Any) -> None:
        """Products from here on are not this map's."""
        self.inside = None

    def by_module(self, linear: LinearMap) -> bool:
        """Whether a product that is seen comes from the module that has just been entered: it was counted
        there.
        """
        return self.inside is not None and self.inside.name == linear.name

    def take(self, linear: LinearMap, tensor: Tensor) -> None:
        """Maps that read the same tensor (queries, keys, values) share one set of statistics."""
        if linear.name not in self.owner:
            self.owner[linear.name] = self.seen.setdefault(id(tensor), (linear.name, tensor))[0]
            if self.owner[linear.name] == linear.name:
                self.found[linear.name] = InputStatistics.empty(
                    tensor.shape[-1], gram=self.gram, device=tensor.device, per_batch=self.per_batch
                )
        if self.owner[linear.name] == linear.name:
            self.found[linear.name].update(tensor)

    def stop_after_the_last(self, maps: list[LinearMap]) -> None:
        """Where every map was called once by its module, the last one's output (a quarter of the work) is left out."""
        if len(self.order) == len(self.called) == len(maps):
            self.last = self.order[-1]


def _group_sequences(measured: int, n: int, args: tuple, kwargs: dict[str, Any]) -> list[slice]:
    """Which of `n` sequences a block takes together: the `measured` first ones never with those that only tell a batch."""
    hidden = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and len(v) == n), None)
    tokens = 1 if hidden is None or hidden.ndim < 2 else hidden[0, ..., 0].numel()
    step = max(1, AT_ONCE // max(1, tokens))
    starts = [*range(0, measured, step), *range(measured, n, step)]
    return [slice(start, stop) for start, stop in pairwise([*starts, n])]


def _cut_sequences(
    measured: int, n: int, args: tuple, kwargs: dict[str, Any]
) -> tuple[list[tuple[tuple, dict[str, Any]]], int]:
    """The arguments group by group, those that are `measured` first, and how many groups these are: tensors whose first
    axis is the batch are cut, all others kept.
    """

    def cut(value: Any, here: slice) -> Any:
        if isinstance(value, Tensor):
            return value[here] if value.ndim > 1 and len(value) == n else value
        if isinstance(value, tuple | list):
            return type(value)(cut(item, here) for item in value)
        return {key: cut(item, here) for key, item in value.items()} if type(value) is dict else value

    groups = _group_sequences(measured, n, args, kwargs)
    pieces = [(cut(args, group), cut(kwargs, group)) for group in groups]
    return pieces, sum(group.stop <= measured for group in groups)


def _join_outputs(results: list[Any]) -> Any:
    """The outputs of all sequences, in the structure of one; tensors leave the list as they are joined."""
    first = results[0]
    if len(results) == 1:
        return first
    if isinstance(first, Tensor):
        whole, at = first.new_empty((sum(map(len, results)), *first.shape[1:])), 0
        while results:
            part = results.pop(0)
            whole[at : at + len(part)] = part
            at += len(part)
        return whole
    if isinstance(first, tuple | list):
        return type(first)(_join_outputs(list(parts)) for parts in zip(*results, strict=True))
    return first
