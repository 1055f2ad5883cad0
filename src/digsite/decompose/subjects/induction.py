"""Strings that repeat themselves with a period of their own, and how much attention goes where copying needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from digsite.decompose.subjects.tasks import IGNORED, next_token


def strings(n: int, length: int, vocab: int, generator: torch.Generator) -> Tensor:
    """Rows of distinct tokens that start again after a quarter to half of the length, so that no fixed offset helps."""
    order = torch.rand(n, vocab, generator=generator).argsort(-1)
    period = torch.randint(max(2, length // 4), length // 2 + 1, (n, 1), generator=generator)
    return order.gather(1, torch.arange(length)[None] % period)


def periods(tokens: Tensor) -> Tensor:
    """Where the first token comes again."""
    return (tokens[:, 1:] == tokens[:, :1]).int().argmax(1) + 1


def labels(tokens: Tensor) -> Tensor:
    """Asked only where the answer has been seen: from the first repeated token on."""
    place = torch.arange(tokens.shape[1], device=tokens.device)
    return next_token(tokens).masked_fill(place < periods(tokens)[:, None], IGNORED)


@contextmanager
def watched(model: nn.Module) -> Iterator[list[Tensor]]:
    """The attention patterns (rows, heads, query, key) of all layers, in the order in which they are computed."""
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        for name, module in model.named_modules()
        if name.endswith("pattern")
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def attention(tokens: Tensor, patterns: list[Tensor]) -> dict[str, float]:
    """The best head's mean attention, where something is asked, to each kind of key."""
    asked = labels(tokens) != IGNORED
    return {
        kind: max(
            float((pattern[:, head] * keys).sum(-1)[asked].mean())
            for pattern in patterns
            for head in range(pattern.shape[1])
        )
        for kind, keys in kinds_of_keys(tokens).items()
    }


def chance(tokens: Tensor) -> dict[str, float]:
    """Attention spread evenly over all that may be seen."""
    place = torch.arange(tokens.shape[1], device=tokens.device)
    even = ((place <= place[:, None]) / (place[:, None] + 1.0)).expand(len(tokens), 1, -1, -1)
    return attention(tokens, [even])


def kinds_of_keys(tokens: Tensor) -> dict[str, Tensor]:
    """(rows, query, key): the token just before, and every earlier token that followed the cue."""
    place = torch.arange(tokens.shape[1], device=tokens.device)
    previous = (place[:, None] - 1 == place).expand(len(tokens), -1, -1)
    before = torch.cat([torch.full_like(tokens[:, :1], -1), tokens[:, :-1]], 1)
    followed = (before[:, None, :] == tokens[:, :, None]) & (place <= place[:, None])
    return {"previous": previous.float(), "induction": followed.float()}
