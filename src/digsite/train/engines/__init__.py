"""Ways to compute the same gradients of K stacked networks; each file is one engine.

All engines give the same gradients up to rounding (a test compares them); they differ in what they are fast at.
Members are rows of one matrix (K, P), so an optimizer step of a whole ensemble is one operation.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import scan_family
from digsite.train.feeds import Batch
from digsite.train.layout import Layout

# Losses of one network; a user's own is any function (outputs, targets) -> scalar.

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of logits (B, C) against labels (B,)."""
    return F.cross_entropy(outputs, targets)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over all entries."""
    return F.mse_loss(outputs, targets)


def next_token(outputs: Tensor, tokens: Tensor) -> Tensor:
    """Mean loss of predicting tokens 1.. from the logits (B, T, V) at 0..; `tokens` is the input itself."""
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": squared_error, "next_token": next_token}


def find_loss(loss: str | Loss) -> Loss:
    """`loss` by name, or a function of the user's own as it is."""
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise UsageError(f"unknown loss '{loss}'. {name_nearest(loss, LOSSES)}")
    return LOSSES[loss]


# What an engine is: the same gradients and outputs of K stacked networks, computed in its own way.

Tensors = Mapping[str, Tensor]


class Engine(ABC):
    """Made for one template network; `flat` is always (K, P), one row per network."""

    def __init__(self, model: nn.Module, layout: Layout, loss: Loss) -> None:
        self.model, self.layout, self.loss = model, layout, loss

    @staticmethod
    @abstractmethod
    def supports(model: nn.Module) -> bool:
        """Whether this engine can run `model`, found without running it."""

    @abstractmethod
    def gradients(self, flat: Tensor, buffers: Tensors, batch: Batch, masks: Tensors, out: Tensor) -> Tensor:
        """Write the gradients of every row of `flat` into `out`; returns the losses (K,).

        `buffers` are (K, ...) by name, `masks` those of dropout, `out` is (K, P). Losses are means over each
        member's own batch.
        """
        ...

    @abstractmethod
    def outputs(self, flat: Tensor, buffers: Tensors, x: Tensor, shared: bool) -> Tensor:
        """Outputs (K, B, ...) without dropout.

        `x` is (B, ...) when `shared`, else (K, B, ...).
        """
        ...


Member = Engine


# Which engine, and how many members at once: rules from measurements (`bench/train.py`), overridable.

ENGINES = "digsite.train.engines"
LARGE = 100_000  # parameters
FEW = 4  # members
CACHE_FLOATS = 400_000  # parameters of all members together: 1.6 MB, and three times that with Adam's moments
GPU_FLOATS = 200_000_000


@dataclass(frozen=True)
class Plan:
    """The engine's name and the largest number of members that step as one matrix."""

    engine: str
    chunk: int

    def build(self, model: nn.Module, layout: Layout, loss: Loss) -> Engine:
        return scan_family(ENGINES)[self.engine](model, layout, loss)


def choose_plan(
    model: nn.Module, layout: Layout, count: int, device: torch.device, engine: str | None, chunk: int | None
) -> Plan:
    """For `count` members; `engine` and `chunk` override the rules.

    `layout` says how many parameters a member has, `count` how many members there are.
    """
    engines = scan_family(ENGINES)
    if engine is None:
        engine = _choose_engine(model, layout.width, count, device)
    elif engine not in engines:
        raise UsageError(f"unknown engine '{engine}'. {name_nearest(engine, engines)}")
    elif not engines[engine].supports(model):
        raise UsageError(f"the engine '{engine}' cannot run {type(model).__name__}: use 'vmap' or 'loop'")
    return Plan(engine, chunk or _choose_chunk(engine, layout.width, device))


def _choose_engine(model: nn.Module, width: int, count: int, device: torch.device) -> str:
    """Known layers are fastest by their own kernels at any size. torch.func costs two plain steps for one member,
    draws level at four, and gains nothing on a CPU once a network alone fills the processor."""
    engines = scan_family(ENGINES)
    for name in ("mlp", "stacked"):
        if engines[name].supports(model):
            return name
    small = width <= LARGE and count >= FEW
    return "vmap" if small or (device.type != "cpu" and count > 1) else "loop"


def _choose_chunk(engine: str, width: int, device: torch.device) -> int:
    """On a CPU: as many members as stay in cache, beyond which nothing is gained; on a GPU: as fit."""
    if device.type != "cpu":
        return max(1, min(1024, GPU_FLOATS // width))
    if engine in ("mlp", "vmap"):
        return max(4, min(128, CACHE_FLOATS // width))
    return {"stacked": 8, "loop": 64}[engine]
