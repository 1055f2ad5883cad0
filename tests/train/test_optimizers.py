"""Rows step as torch.optim steps them, each with its own hyperparameters."""

import pytest
import torch

from digsite.train import Member, group
from digsite.train.group import Optimizer, rate_table

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
    monkeypatch.setattr(group, "WIDE", 0 if wide else 10**9)
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


# Schedules agree with torch.optim.lr_scheduler.


def torch_rates(scheduler, steps: int) -> torch.Tensor:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule, found = scheduler(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return torch.tensor(found, dtype=torch.float64)


SCHEDULERS = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("member", "scheduler"),
    [
        (Member(lr=0.3), lambda o: SCHEDULERS.ConstantLR(o, 1.0)),
        (Member(lr=0.3, schedule="cosine"), lambda o: SCHEDULERS.CosineAnnealingLR(o, 40)),
        (
            Member(lr=0.3, schedule="cosine", final_lr=0.1),
            lambda o: SCHEDULERS.CosineAnnealingLR(o, 40, eta_min=0.03),
        ),
        (Member(lr=0.3, schedule="linear"), lambda o: SCHEDULERS.LinearLR(o, 1.0, 1e-300, total_iters=40)),
        (Member(lr=0.3, warmup=10), lambda o: SCHEDULERS.LambdaLR(o, lambda t: min(1, (t + 1) / 10))),
    ],
)
def test_rates_equal_torch(member, scheduler):
    ours = rate_table([member], [40], torch.float64)[:, 0]
    assert torch.allclose(ours, torch_rates(scheduler, 40), atol=1e-12)


def test_members_of_different_lengths_each_end_their_own_schedule():
    table = rate_table(
        [Member(lr=1, schedule="linear"), Member(lr=1, schedule="linear")], [10, 5], torch.float64
    )
    assert table.shape == (10, 2)
    assert table[5, 1] == 0 and table[5, 0] == 0.5
