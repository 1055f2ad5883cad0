"""What the layers of a model put out on the probe, as tables of rows: hooks that exist only while they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from digsite.base.contract import public_method

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
    """
    inside = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    found = []
    for name, module in model.named_modules():
        kind = _kind(module)
        if kind and id(module) not in inside and (kinds is None or kind in kinds):
            found.append(Target(name, module, kind, len(found)))
    return found


def _kind(module: nn.Module) -> Kind | None:
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    for layer, kind in LAYERS.items():
        if isinstance(module, layer):
            return kind
    children = list(module.children())
    if any(type(child).__name__ in PATTERNS for child in children):
        return "attention"
    attends = any(_kind(child) == "attention" for child in children)
    return "residual" if attends and not isinstance(module, nn.ModuleList | nn.ModuleDict) else None


def rows(output: Any, target: Target) -> Tensor:
    """(rows, features): places of a feature map and tokens are rows; the axes never mix."""
    value = output[0] if isinstance(output, tuple | list) else output
    if target.channels_first and value.ndim > 2:
        value = value.movedim(1, -1)
    if value.ndim == 1:
        value = value[:, None]
    return value.reshape(-1, value.shape[-1])


@contextmanager
def watching(
    found: list[Target],
    keep: Callable[[Target, Tensor], Tensor] = lambda target, table: table,
    *,
    patterns: nn.Module | None = None,
) -> Iterator[Captured]:
    """Hooks for one forward pass. `keep` may take fewer rows; `patterns` is a model to watch attention in."""
    captured = Captured()
    with ExitStack() as stack:
        for target in found:
            stack.callback(target.module.register_forward_hook(_keeper(target, captured, keep)).remove)
        if patterns is not None:
            _watch_attention(patterns, captured, stack)
        yield captured


def _keeper(
    target: Target, captured: Captured, keep: Callable[[Target, Tensor], Tensor]
) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        captured.outputs[target.name] = keep(target, rows(output, target).detach())

    return hook


def _watch_attention(model: nn.Module, captured: Captured, stack: ExitStack) -> None:
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
    return args, kwargs | {"need_weights": True, "average_attn_weights": False}


def _weights_keeper(name: str, captured: Captured) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, tuple) and len(output) > 1 and output[1] is not None:
            captured.patterns[name] = output[1].detach()

    return hook


def _pattern_keeper(name: str, captured: Captured) -> Callable[..., None]:
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
