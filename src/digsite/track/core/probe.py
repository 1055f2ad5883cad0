"""A fixed set of inputs, always seen in evaluation mode, and what the layers of a model put out on it, as tables of rows.

Hooks exist only while they are needed, so a model that is watched is otherwise the model of its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed

LossFunction = Callable[[Any, Tensor], Tensor]


@dataclass
class Probe:
    """Inputs (a tensor, a tuple of arguments or keyword arguments), optional labels, and at most `n_rows` rows."""

    inputs: Any
    labels: Tensor | None = None
    n_rows: int = 128
    seed: int = 0
    loss: LossFunction | None = None
    _taken: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        first = (
            next(iter(self.arguments[1].values()), None) if not self.arguments[0] else self.arguments[0][0]
        )
        if not isinstance(first, Tensor) or len(first) == 0:
            raise UsageError(
                "The probe is empty: pass at least a few dozen inputs the model is to be seen on."
            )
        if first.is_floating_point() and not bool(torch.isfinite(first).all()):
            raise UsageError("The probe holds values that are not finite.")

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As the model is called with them."""
        if isinstance(self.inputs, Mapping):
            return (), dict(self.inputs)
        return (tuple(self.inputs) if isinstance(self.inputs, tuple | list) else (self.inputs,)), {}

    def keep(self, target: Target, table: Tensor) -> Tensor:
        """The same rows at every step; fewer than asked only where a layer has fewer."""
        if len(table) <= self.n_rows:
            return table
        if target.name not in self._taken:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "rows", len(table)))
            self._taken[target.name] = (
                torch.randperm(len(table), generator=generator)[: self.n_rows].sort().values
            )
        return table[self._taken[target.name].to(table.device)]

    def run(
        self, model: nn.Module, watched: list[Target], *, patterns: bool = False
    ) -> tuple[Captured, float | None]:
        """One forward pass; what was captured, and the loss on the probe."""
        args, kwargs = self.arguments
        with (
            evaluation_mode(model),
            torch.inference_mode(),
            watching(watched, self.keep, patterns=model if patterns else None) as captured,
        ):
            output = model(*args, **kwargs)
            loss = self._mean_loss(output)
        return captured, loss

    def _mean_loss(self, output: Any) -> float | None:
        """As given, or cross-entropy where labels are classes; None where neither is known."""
        if self.loss is not None and self.labels is not None:
            return float(self.loss(output, self.labels))
        plain = self.labels is not None and isinstance(output, Tensor) and output.ndim == 2
        if not plain or self.labels is None or self.labels.is_floating_point():
            return None
        return float(nn.functional.cross_entropy(output, self.labels))


def as_probe(probe: Any, seed: int = 0, n_rows: int = 128) -> Probe:
    """A Probe, inputs, or a pair (inputs, labels) whose second part holds one label per input."""
    if isinstance(probe, Probe):
        return probe
    if isinstance(probe, tuple) and len(probe) == 2 and all(isinstance(p, Tensor) for p in probe):
        inputs, labels = probe
        if labels.ndim == 1 and len(labels) == len(inputs):
            return Probe(inputs, labels, n_rows, seed)
    return Probe(probe, None, n_rows, seed)


@contextmanager
def evaluation_mode(model: nn.Module) -> Any:
    """Evaluation mode, and each module's own mode back afterwards."""
    switched = [module for module in model.modules() if module.training]
    for module in switched:
        _set_mode(module, False)
    try:
        yield
    finally:
        for module in switched:
            _set_mode(module, True)


def _set_mode(module: nn.Module, training: bool) -> None:
    """Past nn.Module's setter, which looks for parameters first: a tenth of a small network's forward pass."""
    if "training" in vars(module):
        vars(module)["training"] = training
    else:  # a scripted module keeps it elsewhere
        module.training = training


# The layers: which there are, which rows of their outputs are kept, and the hooks of one forward pass.

Kind = Literal["linear", "conv", "norm", "attention", "residual", "embedding"]
LAYERS: dict[type[nn.Module], Kind] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv",
    nn.Conv2d: "conv",
    nn.Conv3d: "conv",
    nn.Embedding: "embedding",
    nn.LayerNorm: "norm",
    nn.RMSNorm: "norm",
    nn.BatchNorm1d: "norm",
    nn.BatchNorm2d: "norm",
    nn.GroupNorm: "norm",
}
CHANNELS_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm2d, nn.GroupNorm)
PATTERNS = ("Pattern",)  # modules that attention probabilities pass through, by class name


@dataclass(frozen=True)
class Target:
    """One place to look at; `depth` is its rank in module order."""

    name: str
    module: nn.Module
    kind: Kind
    depth: int

    @property
    def channels_first(self) -> bool:
        """Whether axis 1 holds the features."""
        return isinstance(self.module, CHANNELS_FIRST)


@dataclass
class Captured:
    """Outputs by layer, and attention patterns (batch, head, query, key) by place."""

    outputs: dict[str, Tensor] = field(default_factory=dict)
    patterns: dict[str, Tensor] = field(default_factory=dict)


@public_method()
def targets(model: nn.Module, kinds: frozenset[Kind] | None = None) -> list[Target]:
    """Linear, convolutional, norm, embedding and attention layers, and the blocks that write the residual stream.

    The output map inside nn.MultiheadAttention never runs as a module and is left out.

    `model` is any module; `kinds` leaves out all others.
    """
    inside = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    watched = []
    for name, module in model.named_modules():
        kind = _module_kind(module)
        if kind and id(module) not in inside and (kinds is None or kind in kinds):
            watched.append(Target(name, module, kind, len(watched)))
    return watched


def _module_kind(module: nn.Module) -> Kind | None:
    """What a module is tracked as; None for those that are not."""
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    for layer, kind in LAYERS.items():
        if isinstance(module, layer):
            return kind
    children = list(module.children())
    if any(type(child).__name__ in PATTERNS for child in children):
        return "attention"
    attends = any(_module_kind(child) == "attention" for child in children)
    return "residual" if attends and not isinstance(module, nn.ModuleList | nn.ModuleDict) else None


def table_of_rows(output: Any, target: Target) -> Tensor:
    """(rows, features): places of a feature map and tokens are rows; the axes never mix."""
    value = output[0] if isinstance(output, tuple | list) else output
    if target.channels_first and value.ndim > 2:
        value = value.movedim(1, -1)
    if value.ndim == 1:
        value = value[:, None]
    return value.reshape(-1, value.shape[-1])


@contextmanager
def watching(
    watched: list[Target],
    keep: Callable[[Target, Tensor], Tensor] = lambda target, table: table,
    *,
    patterns: nn.Module | None = None,
) -> Iterator[Captured]:
    """Hooks for one forward pass. `keep` may take fewer rows; `patterns` is a model to watch attention in.

    `watched` are layers of `targets`.
    """
    captured = Captured()
    with ExitStack() as stack:
        for target in watched:
            stack.callback(target.module.register_forward_hook(_row_keeper(target, captured, keep)).remove)
        if patterns is not None:
            _watch_attention(patterns, captured, stack)
        yield captured


def _row_keeper(
    target: Target, captured: Captured, keep: Callable[[Target, Tensor], Tensor]
) -> Callable[..., None]:
    """A hook that keeps this layer's output as a table (rows, features)."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        captured.outputs[target.name] = keep(target, table_of_rows(output, target).detach())

    return hook


def _watch_attention(model: nn.Module, captured: Captured, stack: ExitStack) -> None:
    """torch's own module gives its pattern only when asked, others pass it through a module."""
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            stack.callback(module.register_forward_pre_hook(_ask_for_weights, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(_weights_keeper(name, captured)).remove)
        elif type(module).__name__ in PATTERNS:
            stack.callback(
                module.register_forward_hook(_pattern_keeper(name.rpartition(".")[0], captured)).remove
            )
    stack.enter_context(FusedAttention(captured))


def _ask_for_weights(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Per head and not averaged."""
    return args, kwargs | {"need_weights": True, "average_attn_weights": False}


def _weights_keeper(name: str, captured: Captured) -> Callable[..., None]:
    """A hook on torch's own module."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, tuple) and len(output) > 1 and output[1] is not None:
            captured.patterns[name] = output[1].detach()

    return hook


def _pattern_keeper(name: str, captured: Captured) -> Callable[..., None]:
    """A hook on a module through which the pattern passes."""

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        captured.patterns[name] = output.detach()

    return hook


class FusedAttention(TorchFunctionMode):
    """Computes the pattern of every fused attention call beside it: the fused kernel never shows one."""

    def __init__(self, captured: Captured) -> None:
        super().__init__()
        self.captured = captured
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention:
            self.captured.patterns[f"fused.{self.calls}"] = fused_pattern(*args, **kwargs).detach()
            self.calls += 1
        return func(*args, **kwargs)


def fused_pattern(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The probabilities that scaled_dot_product_attention uses, in its own argument order."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    if attn_mask is not None:
        bias = (
            attn_mask
            if attn_mask.dtype != torch.bool
            else torch.zeros_like(scores).masked_fill(~attn_mask, -torch.inf)
        )
        scores = scores + bias
    return scores.softmax(-1)
