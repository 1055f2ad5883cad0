"""Scores of one decomposition of a token model: how few components answer how well, beside rivals of equal number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.losses.faithfulness import residual_mean
from digsite.decompose.judge import answers, equal_l0
from digsite.decompose.judge.answers import Answer
from digsite.decompose.judge.score import Row
from digsite.decompose.subjects.tasks import Task


@torch.no_grad()
def score(found: Decomposition, task: Task, batches: Sequence[Tensor], threshold: float) -> list[Row]:
    """One row per held-out batch."""
    alive = living(found, batches, threshold)
    return [_row(found, task, batch, alive, threshold, i) for i, batch in enumerate(batches)]


def living(found: Decomposition, batches: Sequence[Tensor], threshold: float) -> dict[str, Tensor]:
    """1 for every component that is important somewhere on these batches."""
    alive: dict[str, Tensor] = {}
    for batch in batches:
        for module, g in found.importance(batch).items():
            fires = (g > threshold).flatten(0, -2).any(0)
            alive[module] = fires | alive[module] if module in alive else fires
    return {module: fires.float() for module, fires in alive.items()}


def _row(
    found: Decomposition, task: Task, batch: Tensor, alive: dict[str, Tensor], threshold: float, seed: int
) -> Row:
    scene, labels = found.scene(batch), task.labels(batch)
    answered = answers.maskings(found, scene, labels, threshold=threshold, seed=seed, only=None)
    kept = found.draw(scene, "rounded", threshold)
    generator = torch.Generator().manual_seed(seed)
    for name, (other, masks) in equal_l0.rivals(found, scene, kept, alive, generator).items():
        answered[name] = answers.answer(other, masks, labels)
    row: Row = {"faithfulness": float(residual_mean(scene.residuals))}
    for module, mask in kept.parts.items():
        row[f"{module}/ci_l0"] = float(mask.sum(-1).mean())
        row[f"{module}/alive_components"] = float(alive[module].sum())
    row["ci_l0"] = sum(row[f"{module}/ci_l0"] for module in kept.parts)
    return row | _flat(answered)


def _flat(answered: dict[str, Answer]) -> Row:
    """`ce/svd`, `kl/svd`, `accuracy/svd`, and the recovered shares between the target and all components off."""
    target, zero = answered["target"], answered["zero"]
    row: Row = {}
    for name, answer in answered.items():
        row |= {f"ce/{name}": answer.ce, f"accuracy/{name}": answer.accuracy}
        if name != "target":
            row[f"kl/{name}"] = answer.kl
        if name not in ("target", "zero"):
            row[f"ce_recovered/{name}"] = answers.recovered(answer.ce, target.ce, zero.ce)
            row[f"kl_recovered/{name}"] = answers.recovered(answer.kl, 0.0, zero.kl)
    return row


def mean(rows: Sequence[Row]) -> Row:
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
