"""Token models: how well logits answer, how few components answer how well, what each is worth, and what it all costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.decompose.config import DecomposeConfig, FaithfulnessWarmup
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.fit import Fit, Problem, measure_kept_bytes
from digsite.decompose.core.losses.sparsity import average_residual
from digsite.decompose.core.masks import Masks
from digsite.decompose.core.scene import MASKINGS, Scene, measure_gap
from digsite.decompose.judge import baselines
from digsite.decompose.judge.score import Row
from digsite.decompose.subjects.tasks import IGNORED, Task

NO_GAP = 1e-6  # nats; below, switching everything off costs nothing and nothing can be recovered


@dataclass(frozen=True)
class Answer:
    """How well logits answer: against the right tokens, and against the target."""

    ce: float  # nats per asked position
    kl: float  # nats to the target's distribution, per position
    accuracy: float


def judge_logits(logits: Tensor, wanted: Tensor, labels: Tensor) -> Answer:
    """`logits` and the target's `wanted` (..., vocabulary), `labels` (...) with IGNORED where nothing is asked."""
    flat, asked = logits.float().flatten(0, -2), labels.flatten()
    kept = asked != IGNORED
    return Answer(
        float(F.cross_entropy(flat, asked, ignore_index=IGNORED)),
        float(measure_gap(logits.float(), wanted.float(), "kl").mean()),
        float((flat.argmax(-1)[kept] == asked[kept]).float().mean()),
    )


@torch.no_grad()
def answer_maskings(
    scene: Scene, labels: Tensor, *, threshold: float, seed: int, only: list[str] | None
) -> dict[str, Answer]:
    """The target's own answer, and the answer under each masking of all modules or of `only` some."""
    answers = {"target": judge_logits(scene.output, scene.output, labels)}
    for masking in MASKINGS:
        drawn = scene.draw_masks(masking, threshold, torch.Generator().manual_seed(seed))
        chosen = drawn if only is None else drawn.restrict_sites(only)
        answers[masking] = answer_under(scene, chosen, labels)
    return answers


@torch.no_grad()
def answer_under(scene: Scene, masks: Masks, labels: Tensor) -> Answer:
    """The model under these masks."""
    return judge_logits(scene.forward(masks), scene.output, labels)


def recover_share(value: float, target: float, zero: float) -> float:
    """1: as good as the target; 0: no better than with all components off; not a number where that costs nothing."""
    return 1 - (value - target) / (zero - target) if abs(zero - target) > NO_GAP else float("nan")


# Scores of one decomposition of a token model: how few components answer how well, beside rivals of equal number.


@torch.no_grad()
def score_tokens(
    decomposition: Decomposition, task: Task, batches: Sequence[Tensor], threshold: float
) -> list[Row]:
    """One row per held-out batch."""
    alive = find_living(decomposition, batches, threshold)
    return [
        score_token_batch(decomposition, task, batch, alive, threshold, i) for i, batch in enumerate(batches)
    ]


def find_living(
    decomposition: Decomposition, batches: Sequence[Tensor], threshold: float
) -> dict[str, Tensor]:
    """1 for every component that is important somewhere on these batches."""
    alive: dict[str, Tensor] = {}
    for batch in batches:
        for module, g in decomposition.importance(batch).items():
            fires = (g > threshold).flatten(0, -2).any(0)
            alive[module] = fires | alive[module] if module in alive else fires
    return {module: fires.float() for module, fires in alive.items()}


def score_token_batch(
    decomposition: Decomposition,
    task: Task,
    batch: Tensor,
    alive: dict[str, Tensor],
    threshold: float,
    seed: int,
) -> Row:
    """One row of scores: every masking, and every rival with as many parts."""
    scene, labels = decomposition.scene(batch), task.labels(batch)
    answered = answer_maskings(scene, labels, threshold=threshold, seed=seed, only=None)
    kept = decomposition.draw(scene, "rounded", threshold)
    generator = torch.Generator().manual_seed(seed)
    for name, (other, masks) in baselines.make_rivals(decomposition, scene, kept, alive, generator).items():
        answered[name] = answer_under(other, masks, labels)
    row: Row = {"faithfulness": float(average_residual(scene.residuals))}
    for module, mask in kept.parts.items():
        row[f"{module}/ci_l0"] = float(mask.sum(-1).mean())
        row[f"{module}/alive_components"] = float(alive[module].sum())
    row["ci_l0"] = sum(row[f"{module}/ci_l0"] for module in kept.parts)
    return row | flatten_answers(answered)


def flatten_answers(answered: dict[str, Answer]) -> Row:
    """`ce/svd`, `kl/svd`, `accuracy/svd`, and the recovered shares between the target and all components off."""
    target, zero = answered["target"], answered["zero"]
    row: Row = {}
    for name, answer in answered.items():
        row |= {f"ce/{name}": answer.ce, f"accuracy/{name}": answer.accuracy}
        if name != "target":
            row[f"kl/{name}"] = answer.kl
        if name not in ("target", "zero"):
            row[f"ce_recovered/{name}"] = recover_share(answer.ce, target.ce, zero.ce)
            row[f"kl_recovered/{name}"] = recover_share(answer.kl, 0.0, zero.kl)
    return row


def average_rows(rows: Sequence[Row]) -> Row:
    """Means over batches of equal size."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


# What a token model answers when one component is taken out of its weights, on a few prompts.


@dataclass(frozen=True)
class Effects:
    """Of n components of a module, or n sets of them (n, k; -1 is nobody): the divergence (n, prompts, answers) that leaving
    each out causes, and the token that then comes first."""

    numbers: Tensor
    kl: Tensor
    first: Tensor


@torch.no_grad()
def measure_effects(scene: Scene, module: str, numbers: Tensor) -> Effects:
    """What each component, or each set of them, is worth: KL and changed answers when it alone is switched off."""
    kl, first = [], []
    for row in numbers.reshape(len(numbers), -1).tolist():
        output = scene.forward(mask_without(scene, module, [number for number in row if number >= 0]))
        kl.append(group_by_answer(measure_gap(output.float(), scene.output.float(), "kl")))
        first.append(group_by_answer(output.argmax(-1)))
    return Effects(numbers, torch.stack(kl), torch.stack(first))


def rank_most_used(scene: Scene, module: str, n: int) -> Tensor:
    """Numbers of the components with the largest mean importance, the most used first."""
    mean = scene.importance.lower[module].flatten(0, -2).mean(0)
    return mean.argsort(descending=True, stable=True)[:n]


def list_sets(numbers: Tensor, n: int = 8) -> Tensor:
    """(sets, n) of the first n of these components: every pair, and the first three, four, ... together; -1 fills up."""
    first = numbers[:n].tolist()
    sets = [list(pair) for pair in combinations(first, 2)] + [first[:k] for k in range(3, len(first) + 1)]
    return torch.tensor([each + [-1] * (n - len(each)) for each in sets], dtype=torch.long).reshape(-1, n)


def find_first_answers(scene: Scene) -> Tensor:
    """The target's own most likely token at each position."""
    return group_by_answer(scene.output.argmax(-1))


def mask_without(scene: Scene, module: str, numbers: Sequence[int]) -> Masks:
    """Everything of this module stays, the residual too, but for some components; other modules are the target's."""
    mask = torch.ones_like(scene.importance.lower[module])
    mask[..., list(numbers)] = 0
    return Masks({module: mask}, {module: torch.ones_like(mask[..., :1])})


def group_by_answer(values: Tensor) -> Tensor:
    """(prompts, answers), also where a model answers once per prompt."""
    return values.reshape(len(values), -1)


# Memory of a decomposition by number of components: parameters, optimizer, and what a step keeps for the way back.

MB = 1e6


def measure_memory(
    problem: Problem, config: DecomposeConfig, counts: Sequence[int], device: Any = "cpu"
) -> dict[str, list[float]]:
    """A row for each count, with and without recomputation where the losses allow it; measured, not estimated."""
    attacks = any(loss.ATTACKS for loss in config.losses.values())
    kinds = [False] if attacks else [True] if config.recompute == "always" else [False, True]
    rows = [measure_memory_row(problem, config, n, recompute, device) for n in counts for recompute in kinds]
    return {key: [row[key] for row in rows] for key in rows[0]}


def measure_memory_row(
    problem: Problem, config: DecomposeConfig, n: int, recompute: bool, device: Any
) -> dict[str, float]:
    """Peak bytes of one training step with n parts."""
    own = config.model_copy(
        update={
            "C": n,
            "recompute": "always" if recompute else "never",
            "accumulate": 1,
            "compile": "never",
            "faithfulness_warmup": FaithfulnessWarmup(steps=0),
        }
    )
    fit = Fit(problem, own, [0], device=device)
    parameters = sum(count_bytes(value) for value in fit.params.values())
    return {
        "C": n,
        "recompute": recompute,
        "parameters_mb": parameters / MB,
        "optimizer_mb": 2 * parameters / MB,  # AdamW's two moments
        "kept_mb": measure_kept_bytes(fit, *fit.draws.draw_stack(0)) / MB,
    }


def count_bytes(tensor: Tensor) -> int:
    """Numbers times their size."""
    return tensor.numel() * tensor.element_size()
