"""Rows step as torch.optim steps them, each with its own hyperparameters."""

import pytest
import torch

from digsite.train import Member, optimizers
from digsite.train.optimizers import Optimizer

TORCH = {
    "sgd": lambda p, m: torch.optim.SGD(p, m.lr, weight_decay=m.weight_decay),
    "momentum": lambda p, m: torch.optim.SGD(p, m.lr, m.momentum, weight_decay=m.weight_decay),
    "rmsprop": lambda p, m: torch.optim.RMSprop(
        p, m.lr, momentum=m.momentum or 0, weight_decay=m.weight_decay
    ),
    "adam": lambda p, m: torch.optim.Adam(p, m.lr, m.betas, weight_decay=m.weight_decay),
    "adamw": lambda p, m: torch.optim.AdamW(p, m.lr, m.betas, weight_decay=m.weight_decay),
}


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("decays", [(0.0, 0.0), (0.0, 0.1)])
@pytest.mark.parametrize("wide", [False, True])
def test_rows_equal_torch(kind, decays, wide, monkeypatch):
    monkeypatch.setattr(optimizers, "WIDE", 0 if wide else 10**9)
    momenta = {"momentum": (0.9, 0.5), "rmsprop": (0.0, 0.7)}.get(kind, (None, None))
    members = [
        Member(optimizer=kind, lr=lr, weight_decay=wd, momentum=m, betas=(0.8, 0.95))
        for lr, wd, m in zip((0.1, 0.003), decays, momenta, strict=True)
    ]
    start = torch.rand(2, 6, dtype=torch.float64)
    ours, theirs = start.clone(), [row.clone().requires_grad_() for row in start]
    optimizer = Optimizer.of(members, ours)
    reference = [TORCH[kind]([row], m) for row, m in zip(theirs, members, strict=True)]
    rates = torch.tensor([m.lr for m in members], dtype=torch.float64)
    for step in range(50):
        grads = torch.randn(2, 6, dtype=torch.float64)
        optimizer.step(ours, grads.clone(), rates, step + 1)
        for row, grad, own in zip(theirs, grads, reference, strict=True):
            row.grad = grad
            own.step()
    for row, expected in zip(ours, theirs, strict=True):
        assert torch.allclose(row, expected, rtol=1e-10, atol=1e-12)
