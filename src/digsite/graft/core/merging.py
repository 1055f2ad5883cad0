"""Two weight sets made into one: average, REPAIR, task arithmetic, TIES."""

from typing import Any

import torch
from torch import Tensor, nn

from digsite.graft.core.edits import edited
from digsite.graft.core.nets import layers, shaped

State = dict[str, Tensor]


def mixed(a: State, b: State, share: float) -> State:
    """(1 - share) a + share b."""
    return {k: torch.lerp(v, b[k].to(v), share) if v.is_floating_point() else v for k, v in a.items()}


def task_sum(start: State, tuned: list[State], scale: float) -> State:
    """start + scale * sum of what each fine-tuning changed."""
    return {k: v + scale * sum((t[k] - v for t in tuned), torch.zeros_like(v)) for k, v in start.items()}


def ties(start: State, tuned: list[State], keep: float, scale: float) -> State:
    """Trim each change to its largest `keep`, elect one sign per weight, average those that agree."""
    out: State = {}
    for k, v in start.items():
        changes = torch.stack([_trim(t[k] - v, keep) for t in tuned])
        sign = torch.sign(changes.sum(0))
        agree = (torch.sign(changes) == sign) & (changes != 0)
        mean = (changes * agree).sum(0) / agree.sum(0).clamp_min(1)
        out[k] = v + scale * mean
    return out


def _trim(change: Tensor, keep: float) -> Tensor:
    n = max(1, round(keep * change.numel()))
    least = change.abs().flatten().topk(n).values[-1]
    return torch.where(change.abs() >= least, change, torch.zeros_like(change))


@torch.no_grad()
def repaired(model: nn.Module, x: Tensor, a: nn.Module, b: nn.Module, share: float) -> nn.Module:
    """REPAIR: every hidden unit rescaled to the mean and spread that the two parents have there."""
    model = edited(model)
    for name in list(layers(model))[:-1]:
        goal = [_moments(parent, name, x) for parent in (a, b)]
        mean = torch.lerp(goal[0][0], goal[1][0], share)
        std = torch.lerp(goal[0][1], goal[1][1], share)
        now_mean, now_std = _moments(model, name, x)
        layer = layers(model)[name]
        factor = std / now_std.clamp_min(1e-6)
        layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        assert layer.bias is not None
        layer.bias.copy_((layer.bias - now_mean) * factor + mean)
    return model


def _moments(model: nn.Module, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each unit's pre-activation."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
        kept.append(out)

    handle = layers(model)[name].register_forward_hook(keep)
    model(shaped(model, x))
    handle.remove()
    out = kept[0].transpose(0, 1).flatten(1)
    return out.mean(1), out.std(1)
