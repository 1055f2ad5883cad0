"""Token sequences with a known rule: repeated strings for induction heads, pairs for modular addition."""

import torch
from jaxtyping import Int
from torch import Tensor


def induction(n: int, length: int, vocab: int, generator: torch.Generator) -> Int[Tensor, "n length"]:
    """Random tokens in which the last one occurs once before: what followed it then is what should follow it now.

    The last token is the answer, the one before it the cue; tokens are distinct otherwise where `vocab` allows it.
    """
    assert length >= 4 and vocab >= length, f"{length} tokens out of {vocab}"
    order = torch.rand(n, vocab, generator=generator, device=generator.device).argsort(-1)
    rows = order[:, :length].clone()
    place = torch.randint(length - 3, (n, 1), generator=generator, device=generator.device)
    rows[:, -2:] = torch.cat([rows.gather(1, place), rows.gather(1, place + 1)], 1)
    return rows


def repeated(n: int, length: int, vocab: int, generator: torch.Generator) -> Int[Tensor, "n 2*length"]:
    """A random string said twice: from the second time on, every token is predictable."""
    once = torch.randint(vocab, (n, length), generator=generator, device=generator.device)
    return torch.cat([once, once], 1)


def modular_addition(modulus: int) -> tuple[Int[Tensor, "n 2"], Int[Tensor, "n"]]:
    """All pairs (a, b) and (a + b) mod p."""
    a, b = torch.meshgrid(torch.arange(modulus), torch.arange(modulus), indexing="ij")
    pairs = torch.stack([a.flatten(), b.flatten()], 1)
    return pairs, pairs.sum(1) % modulus


def split(n: int, share: float, generator: torch.Generator) -> tuple[Int[Tensor, "k"], Int[Tensor, "m"]]:
    """Indices of a random share of `n` examples, and of the rest."""
    order = torch.randperm(n, generator=generator)
    cut = round(n * share)
    return order[:cut], order[cut:]
