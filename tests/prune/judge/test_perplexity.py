import math

import pytest
import torch
from torch import nn

from digsite.prune.judge.perplexity import evaluate, logits_of


class Always(nn.Module):
    """Gives token 1 probability 3/4, whatever it reads."""

    def forward(self, tokens):
        logits = torch.tensor([0.25, 0.75]).log()
        return logits.expand(*tokens.shape, 2)


def test_a_closed_case():
    windows = torch.tensor([[0, 1, 1], [1, 0, 1]])
    found = evaluate(Always(), windows, n_bytes=10)
    nats = -(3 * math.log(0.75) + math.log(0.25)) / 4
    assert found.nats == pytest.approx(nats) and found.perplexity == pytest.approx(math.exp(nats))
    assert found.bits_per_byte == pytest.approx(4 * nats / math.log(2) / 10)
    assert (found.context, found.n_tokens) == (3, 4) and len(found.losses) == 2
    assert evaluate(Always(), windows).bits_per_byte is None


def test_logits_are_found_inside_an_output():
    class Output:
        logits = torch.zeros(1, 2, 3)

    class Model(nn.Module):
        def forward(self, tokens):
            return Output()

    assert logits_of(Model(), torch.zeros(1, 2, dtype=torch.long)).shape == (1, 2, 3)
