"""Optimizer steps of K members at once: rates, schedules, and the mean over processes that share the work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from digsite.base.errors import UsageError, name_nearest
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import parts


class Updates:
    """The parameters (K, ...) and what AdamW remembers of them; gates may learn at a rate of their own."""

    def __init__(self, params: dict[str, Tensor], config: DecomposeConfig, rates: Tensor | None) -> None:
        self.params, self.config, self.rates = params, config, rates
        gates = [v for k, v in params.items() if k.startswith("gate/")]
        own = [params[key] for key in parts.list_part_keys(params)]
        groups: list[dict[str, Any]] = [
            {"params": own, "share": config.part_lr},
            {"params": gates, "share": config.gate_lr},
            *(
                self._group_sources(name)
                for name, loss in config.losses.items()
                if hasattr(loss, "source_lr")
            ),
        ]
        self._optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.lr,
            betas=(0.9, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _group_sources(self, name: str) -> dict[str, Any]:
        """The sources of one adversary: they go up the same gradient, at a rate of their own that no schedule changes."""
        sources = [v for k, v in self.params.items() if k.startswith(f"source/{name}/")]
        rate = self.config.losses[name].source_lr  # type: ignore[attr-defined]
        return {"params": sources, "fixed": rate, "betas": (0.5, 0.99), "weight_decay": 0.0, "maximize": True}

    def apply_slopes(self, slopes: list[Tensor], i: int) -> None:
        """Step i, in place."""
        self._set_rate(i)
        for value, slope in zip(self.params.values(), self._clip_slopes(slopes), strict=True):
            value.grad = slope
        before = [value.detach().clone() for value in self.params.values()] if self.rates is not None else []
        self._optimizer.step()
        with torch.no_grad():
            for value, start in zip(self.params.values(), before):  # AdamW's step is linear in the rate
                assert self.rates is not None
                value.copy_(torch.lerp(start, value, align_members(self.rates, value)))
            for key, value in self.params.items():
                if key.startswith("source/"):
                    value.clamp_(0, 1)

    def _set_rate(self, i: int) -> None:
        """The rate of step i, each group by its share; fixed ones (an adversary's) stay."""
        s = self.config.schedule
        rate = self.config.lr * find_rate_factor(
            s.kind, i, self.config.steps, warmup=s.warmup, final=s.final, halflife=s.halflife
        )
        for group in self._optimizer.param_groups:
            group["lr"] = group["fixed"] if "fixed" in group else rate * group["share"]

    def _clip_slopes(self, slopes: list[Tensor]) -> list[Tensor]:
        """By each member's whole gradient, so that members do not hold each other back."""
        if not self.config.clip:
            return slopes
        climbs = [key.startswith("source/") for key in self.params]  # an adversary is not held back
        sizes = [s.flatten(1).norm(dim=1) for s, up in zip(slopes, climbs, strict=True) if not up]
        scale = (self.config.clip / (torch.stack(sizes).norm(dim=0) + 1e-6)).clamp(max=1)
        return [s if up else s * align_members(scale, s) for s, up in zip(slopes, climbs, strict=True)]

    @torch.no_grad()
    def clear_where(self, key: str, where: Tensor) -> None:
        """Zero in place, with no memory of what was there."""
        value = self.params[key]
        value.masked_fill_(where, 0.0)
        for name, moment in self._optimizer.state[value].items():
            if name != "step":
                moment.masked_fill_(where, 0.0)

    def select_members(self, members: Tensor) -> Updates:
        """Of these members alone."""
        params = {k: v.detach()[members].requires_grad_() for k, v in self.params.items()}
        made = Updates(params, self.config, None if self.rates is None else self.rates[members])
        made._load_moments(
            {
                i: {name: value[members] if value.ndim else value for name, value in moment.items()}
                for i, moment in self._moments.items()
            }
        )
        return made

    @property
    def _moments(self) -> dict[int, dict[str, Tensor]]:
        """What Adam remembers."""
        return self._optimizer.state_dict()["state"]

    def _load_moments(self, moments: dict[int, dict[str, Tensor]]) -> None:
        """Into the optimizer that is there."""
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})

    def read_state(self) -> dict[str, Any]:
        """What a checkpoint holds: parameters and AdamW's moments, no generator."""
        return {"params": {k: v.detach() for k, v in self.params.items()}, "moments": self._moments}

    def load_state(self, state: dict[str, Any]) -> None:
        """Parameters and moments as they were."""
        with torch.no_grad():
            for key, value in state["params"].items():
                self.params[key].copy_(value)
        self._load_moments(state["moments"])


def align_members(values: Tensor, like: Tensor) -> Tensor:
    """One number per member, on the axes of a parameter."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))


# --- what to multiply the learning rate by --------------------------------------------------------------------

SCHEDULES: dict[
    str, Callable[[float, int, float], float]
] = {  # of the share of training, the step, and a halflife
    "constant": lambda share, step, halflife: 1.0,
    "linear": lambda share, step, halflife: 1.0 - share,
    # As the reference has it: slow at first, at full slope when it reaches zero. It is called cosine there; here that
    # word is left to half a period, as everywhere in training, and old configs are read through the table of old names.
    "quarter_cosine": lambda share, step, halflife: math.cos(0.5 * math.pi * share),
    "half_cosine": lambda share, step, halflife: 0.5 * (1 + math.cos(math.pi * share)),
    "exponential": lambda share, step, halflife: 0.5 ** (step / halflife),
}


def find_rate_factor(
    name: str, step: int, total: int, *, warmup: float = 0.0, final: float = 0.0, halflife: float = 1000.0
) -> float:
    """`warmup` is the share of training with a linear rise; the schedule then runs from 1 down to `final`."""
    if name not in SCHEDULES:
        raise UsageError(f"'{name}' is not a schedule. {name_nearest(name, SCHEDULES)}")
    rise = int(total * warmup)
    if step < rise:
        return (step + 1) / rise
    share = (step - rise) / max(total - rise, 1)
    return final + (1 - final) * SCHEDULES[name](share, step - rise, halflife)


# --- data parallel: each process takes its own batches, and all take the mean of their gradients -------------


def find_process() -> tuple[int, int]:
    """This process's number and how many there are; alone unless a process group was started."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def average_over_processes(tensors: Iterable[Tensor]) -> None:
    """In place, over all processes."""
    _, size = find_process()
    if size > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= size
