"""How well a language model predicts text: nats per token, perplexity at a context length, bits per byte."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Perplexity:
    """`losses` are summed nats of each window; `n_bytes` is the text behind all predicted tokens, where known."""

    losses: Float[np.ndarray, "windows"]
    n_tokens: int
    context: int
    n_bytes: int | None = None

    @property
    def nats(self) -> float:
        return float(self.losses.sum()) / self.n_tokens

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats)

    @property
    def bits_per_byte(self) -> float | None:
        return float(self.losses.sum()) / math.log(2) / self.n_bytes if self.n_bytes else None


@torch.no_grad()
def evaluate(
    model: nn.Module, windows: Int[Tensor, "windows tokens"], *, n_bytes: int | None = None, batch: int = 8
) -> Perplexity:
    """Every token but the first of each window is predicted from those before it in the window."""
    was_training = model.training
    model.eval()
    losses = []
    for rows in windows.split(batch):
        logits = logits_of(model, rows)[:, :-1].float()
        nats = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
        losses.append(nats.view(len(rows), -1).double().sum(1))
    model.train(was_training)
    context = windows.shape[1]
    return Perplexity(torch.cat(losses).cpu().numpy(), len(windows) * (context - 1), context, n_bytes)


def logits_of(model: nn.Module, tokens: Int[Tensor, "n tokens"]) -> Float[Tensor, "n tokens vocab"]:
    """The logits of our models, which are the output, or of Hugging Face's, which are inside it."""
    output = model(tokens)
    return output if isinstance(output, Tensor) else output.logits
