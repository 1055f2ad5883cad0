"""What a study of a token model needs: the model, batches of tokens, what should come next, words for the tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from digsite.decompose.core.fit import Sampler

IGNORED = -100  # label of positions at which nothing is asked
Labels = Callable[[Tensor], Tensor]
Words = Callable[[int], str]


@dataclass(frozen=True)
class Task:
    model: nn.Module
    sample: Sampler  # tokens (batch, positions) from a generator
    held_out: Sampler  # the same from data that the target never saw
    labels: Labels  # for tokens, the right answer at every position of the logits
    words: Words = str
    output: str = ""
    floor: float | None = None  # nats per answer that no model can beat, where it is known


def next_token(tokens: Tensor) -> Tensor:
    """At each position the token that follows; nothing is asked at the last."""
    return torch.cat([tokens[:, 1:], torch.full_like(tokens[:, :1], IGNORED)], 1)


def rows(tokens: Tensor, batch: int) -> Sampler:
    """Random rows of stored tokens."""
    return lambda generator: tokens[torch.randint(len(tokens), (batch,), generator=generator)]
