"""The whole model at once, its mask fixed: kept weights learn to say what the dense model says.

The target is the dense model's own distribution over next tokens, not the text, so nothing can be gained by learning
the calibration text: repairing a model that was not pruned changes nothing.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.prune.core.gradient_steps import Stepper, shuffled_batches
from digsite.prune.core.repair import RepairSettings, Subject

LEVEL = "model"


def repair_model(
    model: nn.Module, dense: nn.Module, tokens: Tensor, subjects: Sequence[Subject], settings: RepairSettings
) -> dict[str, Bool[Tensor, "out in"]]:
    """Train the kept weights in place; the masks come back as they were."""
    batches = shuffled_batches(len(tokens), settings)
    stepper = Stepper(subjects, settings, len(batches))
    for rows in batches:
        stepper.step(divergence_of(model, dense, tokens[rows], settings))
    stepper.finish()
    return {subject.one.name: subject.keep for subject in subjects}


def divergence_of(
    model: nn.Module, dense: nn.Module, rows: Tensor, settings: RepairSettings
) -> Callable[[], Float[Tensor, ""]]:
    """The loss of one batch: KL(dense || pruned) per token, the dense side computed once and without gradients."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
        wanted = F.log_softmax(_logits(dense, rows).float(), -1)

    def loss() -> Float[Tensor, ""]:
        said = F.log_softmax(_logits(model, rows).float(), -1)
        return F.kl_div(said.flatten(0, -2), wanted.flatten(0, -2), log_target=True, reduction="batchmean")

    return loss


def _logits(model: nn.Module, rows: Tensor) -> Tensor:
    output = model(rows)
    return output if isinstance(output, Tensor) else output.logits
