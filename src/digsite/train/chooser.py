"""Which engine, and how many members at once: rules from measurements (`bench/train.py`), overridable."""

from dataclasses import dataclass

import torch
from torch import nn

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import scan_family
from digsite.train.engine import Engine
from digsite.train.layout import Layout
from digsite.train.losses import Loss

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
        return scan_family(ENGINES)[self.engine].Engine(model, layout, loss)


def choose(
    model: nn.Module, layout: Layout, count: int, device: torch.device, engine: str | None, chunk: int | None
) -> Plan:
    """For `count` members; `engine` and `chunk` override the rules."""
    engines = scan_family(ENGINES)
    if engine is None:
        engine = _best(model, layout.width, count, device)
    elif engine not in engines:
        raise UsageError(f"unknown engine '{engine}'. {name_nearest(engine, engines)}")
    elif not engines[engine].Engine.supports(model):
        raise UsageError(f"the engine '{engine}' cannot run {type(model).__name__}: use 'vmap' or 'loop'")
    return Plan(engine, chunk or _chunk(engine, layout.width, device))


def _best(model: nn.Module, width: int, count: int, device: torch.device) -> str:
    """Known layers are fastest by their own kernels at any size. torch.func costs two plain steps for one member,
    draws level at four, and gains nothing on a CPU once a network alone fills the processor."""
    engines = scan_family(ENGINES)
    for name in ("mlp", "stacked"):
        if engines[name].Engine.supports(model):
            return name
    small = width <= LARGE and count >= FEW
    return "vmap" if small or (device.type != "cpu" and count > 1) else "loop"


def _chunk(engine: str, width: int, device: torch.device) -> int:
    """On a CPU: as many members as stay in cache, beyond which nothing is gained; on a GPU: as fit."""
    if device.type != "cpu":
        return max(1, min(1024, GPU_FLOATS // width))
    if engine in ("mlp", "vmap"):
        return max(4, min(128, CACHE_FLOATS // width))
    return {"stacked": 8, "loop": 64}[engine]
