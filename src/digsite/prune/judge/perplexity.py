"""How well a pruned model predicts text, which methods can be told apart by it, and how far the output of one that
predicts no text has moved.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.intervals import Interval, seed_interval, student_interval
from digsite.models.opening import main_output, one_sentence
from digsite.models.opening.feeding import Batch
from digsite.prune.core.walk import n_rows_of, run_batch

NOTHING = -100  # what a position predicts that no token follows


@dataclass(frozen=True)
class Perplexity:
    """`losses` are summed nats of each window; `n_bytes` is the text behind all predicted tokens, where known."""

    losses: Float[np.ndarray, "windows"]
    n_tokens: int
    context: int
    n_bytes: int | None = None

    @property
    def nats(self) -> float:
        """Mean over all predicted tokens."""
        return float(self.losses.sum()) / self.n_tokens

    @property
    def perplexity(self) -> float:
        """exp(nats): comparable within one tokenizer and one context only."""
        return math.exp(self.nats)

    @property
    def bits_per_byte(self) -> float | None:
        """Comparable across tokenizers; None where the text is not known."""
        return float(self.losses.sum()) / math.log(2) / self.n_bytes if self.n_bytes else None

    @property
    def facts(self) -> dict[str, Any]:
        """For a file that others read."""
        return {
            "nats_per_token": self.nats,
            "perplexity": self.perplexity,
            "context": self.context,
            "bits_per_byte": self.bits_per_byte,
        }


@torch.no_grad()
def measure_perplexity(
    model: nn.Module,
    windows: Int[Tensor, "windows tokens"],
    *,
    n_bytes: int | None = None,
    at_once: int = 1024,
) -> Perplexity:
    """Every token but the first of each window is predicted from those before it in the window. `at_once` tokens are run
    together, or one window: the logits of a long one are large.
    """
    was_training = model.training
    model.eval()
    losses = []
    for rows in windows.split(max(1, at_once // windows.shape[1])):
        # The last position predicts nothing: marked, since cutting it off would copy the logits of a whole vocabulary.
        following = F.pad(rows[:, 1:], (0, 1), value=NOTHING).flatten()
        logits = logits_of(model, rows).float().flatten(0, 1)
        nats = F.cross_entropy(logits, following, reduction="none", ignore_index=NOTHING)
        losses.append(nats.view(len(rows), -1).double().sum(1))
    model.train(was_training)
    context = windows.shape[1]
    return Perplexity(torch.cat(losses).cpu().numpy(), len(windows) * (context - 1), context, n_bytes)


def logits_of(model: nn.Module, tokens: Int[Tensor, "n tokens"]) -> Float[Tensor, "n tokens vocab"]:
    """The logits of our models, which are the output, or of Hugging Face's, which are inside it."""
    output = model(tokens)
    return output if isinstance(output, Tensor) else output.logits


# How far a pruned model's own output has moved from the dense model's, for models that predict no next token.

MOST_NUMBERS = 10_000_000  # of logits that are kept for the comparison; positions are thinned out beyond


@dataclass(frozen=True)
class Drift:
    """Of logits: nats of KL from the dense model's answer, and the share of equal first answers. Of hidden states:
    squared distance over the spread of the dense output. `null` is what an output that ignores its input gives: the
    mean answer. The interval is over the rows of the batch.
    """

    what: str
    distance: float
    low: float | None
    high: float | None
    null: float
    n_rows: int
    agreement: float | None = None
    agreement_null: float | None = None

    def sentence(self) -> str:
        """For people, with its null."""
        interval = "" if self.low is None else f" ({self.low:.4g} to {self.high:.4g}, n = {self.n_rows})"
        text = f"{self.what} moved by {self.distance:.4g}{interval}; an output that ignores its input: {self.null:.4g}"
        if self.agreement is None:
            return text
        return f"{text}; same first answer in {self.agreement:.1%} (always the commonest: {self.agreement_null:.1%})"


@torch.no_grad()
def outputs_of(model: nn.Module, batch: Batch, at_once: int = 1) -> Tensor:
    """The main output of every row: logits where there are any, else the last hidden states, else what comes out.
    `at_once` rows are run together; of large outputs, positions are thinned out row by row, so that not all are ever held."""
    was_training = model.training
    model.eval()
    rows, n = [], n_rows_of(batch)
    with one_sentence("Running the model on held-out data", "Check that the data is what this model takes."):
        for i in range(0, n, at_once):
            here = slice(i, i + at_once)
            part = batch[here] if isinstance(batch, Tensor) else {k: v[here] for k, v in batch.items()}
            answer = main_output(run_batch(model, part)).float().cpu()
            size = answer.numel() // len(answer) * n  # of all rows
            thin = answer.ndim == 3 and size > MOST_NUMBERS
            rows.append(answer[:, :: -(-size // MOST_NUMBERS)].clone() if thin else answer)
            del answer  # or it would lie beside the next one
        outputs = torch.cat(rows) if len(rows) > 1 else rows[0]
    model.train(was_training)
    return outputs


def has_logits(model: nn.Module) -> bool:
    """Whether the main output is a distribution over answers: transformers' classes with a head say so by name."""
    name = type(model).__name__
    return "For" in name or name.endswith("LMHeadModel")


def measure_drift(before: Tensor, after: Tensor, logits: bool) -> Drift:
    """Distance of two outputs (rows, ..., size) of the same batch."""
    if logits:
        return _of_logits(before, after)
    per_row = (after - before).flatten(1).square().sum(1)
    spread = (before - before.mean(0, keepdim=True)).flatten(1).square().sum(1).mean().clamp_min(1e-30)
    value, low, high = _interval_of_rows((per_row / spread).tolist())
    agreement, common = (
        _measure_agreement(before, after) if before.ndim == 2 and before.shape[1] > 1 else (None, None)
    )
    return Drift("the output", value, low, high, 1.0, len(before), agreement, common)


def _of_logits(before: Tensor, after: Tensor) -> Drift:
    """KL(dense || pruned) per position; the null is a model that answers with the dense one's mean, whatever it
    reads.
    """
    pairs = list(
        zip(before.split(1), after.split(1), strict=True)
    )  # a vocabulary's logits are large: row by row
    mean = sum(row.softmax(-1).flatten(0, -2).sum(0) for row, _ in pairs) / before[..., 0].numel()
    usual, kl, nulls = torch.as_tensor(mean).clamp_min(1e-30).log(), [], []
    for row, changed in pairs:
        dense = row.log_softmax(-1)
        share = dense.exp()
        kl.append(float((share * (dense - changed.log_softmax(-1))).sum(-1).mean()))
        nulls.append(float((share * (dense - usual)).sum(-1).mean()))
    value, low, high = _interval_of_rows(kl)
    null = float(np.mean(nulls))
    return Drift(
        "the answers (KL, nats)", value, low, high, null, len(before), *_measure_agreement(before, after)
    )


def _measure_agreement(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Share of equal first answers, and the share that the commonest answer alone would give."""
    first = before.argmax(-1).flatten()
    share = float((first == after.argmax(-1).flatten()).float().mean())
    return share, float(first.bincount().max() / len(first))


def _interval_of_rows(values: list[float]) -> tuple[float, float | None, float | None]:
    """Over rows of the held-out data; one row has no interval."""
    if len(values) < 2:
        return values[0], None, None
    mean, low, high = student_interval(values)
    return mean, low, high


# Methods beside each other: the same calibration sets, so what counts is the difference on each of them.

NO_MARGIN = Interval(math.nan)
USUAL = ("sparsegpt", "wanda", "magnitude")  # from the lowest loss to the highest, as published


@dataclass(frozen=True)
class ToldApart:
    """Methods at one level. `ties` are those that the best cannot be told apart from; `order` is that of the usual three."""

    best: str
    second: str = ""
    margin: Interval = NO_MARGIN  # loss of the second minus that of the best
    ties: tuple[str, ...] = ()
    order: str = ""  # "holds", "does not hold" or "cannot be told"; empty where one of the three was not run


def tell_apart(losses: pd.DataFrame) -> ToldApart:
    """Which method has the lowest loss, and which others may have: those whose difference to it has an interval that
    meets zero, or too few calibration sets for one.

    `losses`: a row for each calibration set, a column for each method.
    """
    best, *others = map(str, losses.median().sort_values().index)
    if not others:
        return ToldApart(best)
    beside = {name: subtract_losses(losses, name, best) for name in others}
    ties = tuple(name for name, over in beside.items() if not is_above_zero(over))
    return ToldApart(best, others[0], beside[others[0]], ties, judge_order(losses))


def subtract_losses(losses: pd.DataFrame, worse: str, better: str) -> Interval:
    """How much more one method loses than another, over calibration sets."""
    return seed_interval((losses[worse] - losses[better]).tolist(), "difference")


def is_above_zero(over: Interval) -> bool:
    return over.low is not None and over.low > 0


def judge_order(losses: pd.DataFrame) -> str:
    """Whether SparseGPT < Wanda < magnitude, as far as the intervals of the differences say."""
    if not {*USUAL} <= {*losses}:
        return ""
    steps = [subtract_losses(losses, worse, better) for better, worse in pairwise(USUAL)]
    if all(map(is_above_zero, steps)):
        return "holds"
    reversed_somewhere = any(over.high is not None and over.high < 0 for over in steps)
    return "does not hold" if reversed_somewhere else "cannot be told"
