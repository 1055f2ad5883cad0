"""Which engine, and how many members at once: by measurement for the kinds of networks, overridable."""

from dataclasses import dataclass

import torch
from torch import nn

from digsite.base.errors import UsageError, nearest
from digsite.base.families import names, scan
from digsite.train.engine import Engine
from digsite.train.layout import Layout
from digsite.train.losses import Loss


@dataclass(frozen=True)
class Plan:
    """The engine's name and the largest number of members that step as one matrix."""

    engine: str
    chunk: int

    def build(self, model: nn.Module, layout: Layout, loss: Loss) -> Engine:
        return scan("digsite.train.engines")[self.engine].Engine(model, layout, loss)


def choose(
    model: nn.Module, width: int, batch: int, device: torch.device, engine: str | None, chunk: int | None
) -> Plan:
    """`engine` and `chunk` override the measured choice."""
    if engine is not None and engine not in names("digsite.train.engines"):
        raise UsageError(f"unknown engine '{engine}'. {nearest(engine, names('digsite.train.engines'))}")
    if engine is not None and not scan("digsite.train.engines")[engine].Engine.supports(model):
        raise UsageError(f"the engine '{engine}' cannot run {type(model).__name__}: use 'vmap' or 'loop'")
    if engine is None:
        engine = "loop" if device.type == "cpu" and width > 100_000 else _best(model)
    if chunk is None:
        chunk = 256 if device.type != "cpu" else 8 if _has_convolutions(model) else 64
    return Plan(engine, chunk)


def _best(model: nn.Module) -> str:
    engines = scan("digsite.train.engines")
    return next(name for name in ("mlp", "stacked", "vmap") if engines[name].Engine.supports(model))


def _has_convolutions(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in model.modules())
