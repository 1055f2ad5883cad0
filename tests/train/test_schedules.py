"""Schedules agree with torch.optim.lr_scheduler."""

import pytest
import torch

from digsite.train import Member
from digsite.train.schedules import rate_table


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
