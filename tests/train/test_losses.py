"""The named losses are those of PyTorch."""

import pytest
import torch
import torch.nn.functional as F

from digsite.base.errors import UsageError
from digsite.train.losses import next_token, resolve


def test_next_token_predicts_the_following_one():
    logits, tokens = torch.rand(2, 5, 7), torch.randint(0, 7, (2, 5))
    terms = [F.cross_entropy(logits[b, t], tokens[b, t + 1]) for b in range(2) for t in range(4)]
    assert torch.allclose(next_token(logits, tokens), torch.stack(terms).mean())


def test_names():
    assert resolve("mse")(torch.ones(2), torch.zeros(2)) == 1
    assert resolve(next_token) is next_token
    with pytest.raises(UsageError, match="unknown loss 'cross_entrop'. Did you mean 'cross_entropy'"):
        resolve("cross_entrop")
