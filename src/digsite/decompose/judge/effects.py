"""What a token model answers when one component is taken out of its weights, on a few prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.decompose.core.masks import Masks
from digsite.decompose.core.scene import Scene, gap


@dataclass(frozen=True)
class Effects:
    """Of n components of a module: the divergence (n, prompts, answers) that leaving each out alone causes, and the
    token that then comes first."""

    numbers: Tensor
    kl: Tensor
    first: Tensor


@torch.no_grad()
def of_components(scene: Scene, module: str, numbers: Tensor) -> Effects:
    kl, first = [], []
    for number in numbers.tolist():
        output = scene.forward(_without(scene, module, number))
        kl.append(_by_answer(gap(output.float(), scene.output.float(), "kl")))
        first.append(_by_answer(output.argmax(-1)))
    return Effects(numbers, torch.stack(kl), torch.stack(first))


def most_used(scene: Scene, module: str, n: int) -> Tensor:
    """Numbers of the components with the largest mean importance, the most used first."""
    mean = scene.importance.lower[module].flatten(0, -2).mean(0)
    return mean.argsort(descending=True, stable=True)[:n]


def first_answers(scene: Scene) -> Tensor:
    return _by_answer(scene.output.argmax(-1))


def _without(scene: Scene, module: str, number: int) -> Masks:
    """Everything of this module stays, the residual too, but for one component; other modules are the target's."""
    mask = torch.ones_like(scene.importance.lower[module])
    mask[..., number] = 0
    return Masks({module: mask}, {module: torch.ones_like(mask[..., :1])})


def _by_answer(values: Tensor) -> Tensor:
    """(prompts, answers), also where a model answers once per prompt."""
    return values.reshape(len(values), -1)
