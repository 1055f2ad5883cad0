"""How well logits answer: cross-entropy, accuracy, and the distance to what the target says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.decompose.core.decomposition import MASKINGS, Decomposition
from digsite.decompose.core.masks import Masks
from digsite.decompose.core.scene import Scene, gap
from digsite.decompose.subjects.tasks import IGNORED

NO_GAP = 1e-6  # nats; below, switching everything off costs nothing and nothing can be recovered


@dataclass(frozen=True)
class Answer:
    ce: float  # nats per asked position
    kl: float  # nats to the target's distribution, per position
    accuracy: float


def judge(logits: Tensor, wanted: Tensor, labels: Tensor) -> Answer:
    flat, asked = logits.float().flatten(0, -2), labels.flatten()
    kept = asked != IGNORED
    return Answer(
        float(F.cross_entropy(flat, asked, ignore_index=IGNORED)),
        float(gap(logits.float(), wanted.float(), "kl").mean()),
        float((flat.argmax(-1)[kept] == asked[kept]).float().mean()),
    )


@torch.no_grad()
def maskings(
    found: Decomposition, scene: Scene, labels: Tensor, *, threshold: float, seed: int, only: list[str] | None
) -> dict[str, Answer]:
    """The target's own answer, and the answer under each masking of all modules or of `only` some."""
    answers = {"target": judge(scene.output, scene.output, labels)}
    for masking in MASKINGS:
        drawn = found.draw(scene, masking, threshold, torch.Generator().manual_seed(seed))
        chosen = drawn if only is None else drawn.restrict(only)
        answers[masking] = answer(scene, chosen, labels)
    return answers


@torch.no_grad()
def answer(scene: Scene, masks: Masks, labels: Tensor) -> Answer:
    return judge(scene.forward(masks), scene.output, labels)


def recovered(value: float, target: float, zero: float) -> float:
    """1: as good as the target; 0: no better than with all components off; not a number where that costs nothing."""
    return 1 - (value - target) / (zero - target) if abs(zero - target) > NO_GAP else float("nan")
