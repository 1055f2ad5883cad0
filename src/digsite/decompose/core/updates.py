"""Optimizer steps of K members at once, each with its own factor on the learning rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import parts, schedules


class Updates:
    """The parameters (K, ...) and what AdamW remembers of them; gates may learn at a rate of their own."""

    def __init__(self, params: dict[str, Tensor], config: DecomposeConfig, rates: Tensor | None) -> None:
        self.params, self.config, self.rates = params, config, rates
        gates = [v for k, v in params.items() if k.startswith("gate/")]
        own = [params[key] for key in parts.own_keys(params)]
        groups: list[dict[str, Any]] = [
            {"params": own, "share": config.part_lr},
            {"params": gates, "share": config.gate_lr},
            *(self._climbers(name) for name, loss in config.losses.items() if hasattr(loss, "source_lr")),
        ]
        self._optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.lr,
            betas=(0.9, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _climbers(self, name: str) -> dict[str, Any]:
        """The sources of one adversary: they go up the same gradient, at a rate of their own that no schedule changes."""
        mine = [v for k, v in self.params.items() if k.startswith(f"source/{name}/")]
        rate = self.config.losses[name].source_lr  # type: ignore[attr-defined]
        return {"params": mine, "fixed": rate, "betas": (0.5, 0.99), "weight_decay": 0.0, "maximize": True}

    def apply(self, slopes: list[Tensor], i: int) -> None:
        """Step i, in place."""
        self._set_rate(i)
        for value, slope in zip(self.params.values(), self._clipped(slopes), strict=True):
            value.grad = slope
        before = [value.detach().clone() for value in self.params.values()] if self.rates is not None else []
        self._optimizer.step()
        with torch.no_grad():
            for value, start in zip(self.params.values(), before):  # AdamW's step is linear in the rate
                assert self.rates is not None
                value.copy_(torch.lerp(start, value, _along(self.rates, value)))
            for key, value in self.params.items():
                if key.startswith("source/"):
                    value.clamp_(0, 1)

    def _set_rate(self, i: int) -> None:
        s = self.config.schedule
        rate = self.config.lr * schedules.factor(
            s.kind, i, self.config.steps, warmup=s.warmup, final=s.final, halflife=s.halflife
        )
        for group in self._optimizer.param_groups:
            group["lr"] = group["fixed"] if "fixed" in group else rate * group["share"]

    def _clipped(self, slopes: list[Tensor]) -> list[Tensor]:
        if not self.config.clip:
            return slopes
        climbs = [key.startswith("source/") for key in self.params]  # an adversary is not held back
        sizes = [s.flatten(1).norm(dim=1) for s, up in zip(slopes, climbs, strict=True) if not up]
        scale = (self.config.clip / (torch.stack(sizes).norm(dim=0) + 1e-6)).clamp(max=1)
        return [s if up else s * _along(scale, s) for s, up in zip(slopes, climbs, strict=True)]

    @torch.no_grad()
    def clear(self, key: str, where: Tensor) -> None:
        """Zero in place, with no memory of what was there."""
        value = self.params[key]
        value.masked_fill_(where, 0.0)
        for name, moment in self._optimizer.state[value].items():
            if name != "step":
                moment.masked_fill_(where, 0.0)

    def of(self, members: Tensor) -> Updates:
        """Of these members alone."""
        params = {k: v.detach()[members].requires_grad_() for k, v in self.params.items()}
        made = Updates(params, self.config, None if self.rates is None else self.rates[members])
        made._remember(
            {
                i: {name: value[members] if value.ndim else value for name, value in moment.items()}
                for i, moment in self._moments.items()
            }
        )
        return made

    @property
    def _moments(self) -> dict[int, dict[str, Tensor]]:
        return self._optimizer.state_dict()["state"]

    def _remember(self, moments: dict[int, dict[str, Tensor]]) -> None:
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})

    def state(self) -> dict[str, Any]:
        return {"params": {k: v.detach() for k, v in self.params.items()}, "moments": self._moments}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for key, value in state["params"].items():
                self.params[key].copy_(value)
        self._remember(state["moments"])


def _along(values: Tensor, like: Tensor) -> Tensor:
    """One number per member, on the axes of a parameter."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))
