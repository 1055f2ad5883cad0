import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.decompose.config import Schedule
from digsite.decompose.core import updates
from digsite.decompose.core.updates import SCHEDULES, find_rate_factor
from digsite.train.group import rate_factor


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_one_and_never_grows(name):
    values = [find_rate_factor(name, step, 100, halflife=20) for step in range(100)]
    assert values[0] == 1
    assert all(a >= b for a, b in pairwise(values))


def test_closed_forms():
    assert find_rate_factor("quarter_cosine", 50, 100) == pytest.approx(math.cos(math.pi / 4))
    assert find_rate_factor("half_cosine", 50, 100) == pytest.approx(0.5)
    assert find_rate_factor("linear", 25, 100, final=0.2) == pytest.approx(0.2 + 0.8 * 0.75)
    assert find_rate_factor("exponential", 40, 100, halflife=20) == pytest.approx(0.25)
    assert find_rate_factor("constant", 0, 100, warmup=0.1) == pytest.approx(0.1)


def test_the_half_cosine_is_what_training_calls_cosine():
    """One formula, checked against the trainer's; the reference's own schedule has another name."""
    steps = torch.arange(40, dtype=torch.float64)
    there = rate_factor(steps, 40, "cosine", 0, 0.1)
    assert there.tolist() == pytest.approx(
        [find_rate_factor("half_cosine", i, 40, final=0.1) for i in range(40)]
    )
    assert "cosine" not in SCHEDULES and Schedule.model_validate({"kind": "cosine"}).kind == "quarter_cosine"


def test_an_unknown_schedule_is_answered():
    with pytest.raises(UsageError, match="Did you mean 'half_cosine'"):
        find_rate_factor("cosin", 0, 10)


# Two processes that share the batches of a step are one process that accumulates them.

CODE = """
import sys, torch
from torch import distributed as dist
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.subjects import targets
rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
if size > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
config = DecomposeConfig.model_validate({"C": 6, "steps": 4, "compile": "never", "accumulate": 2 // size})
fit = Fit(Problem([targets.build_pairs()], ["0", "2"], targets.draw_pairs), config, [0], dtype=torch.float64)
for step in range(4):
    fit.step(step)
if rank == 0:
    torch.save(fit.read_member(0), f"{folder}/{size}.pt")
if size > 1:
    dist.destroy_process_group()
"""


def test_two_processes_are_one_that_accumulates(tmp_path):
    places = [(0, 1), (0, 2), (1, 2)]
    running = [
        subprocess.Popen([sys.executable, "-c", CODE, str(r), str(n), str(tmp_path)]) for r, n in places
    ]
    assert [process.wait(timeout=600) for process in running] == [0, 0, 0]
    alone, together = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (1, 2))
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-9, atol=1e-12)


def test_alone_nothing_is_averaged():
    value = torch.ones(2)
    updates.average_over_processes([value])
    assert updates.find_process() == (0, 1)
    assert torch.equal(value, torch.ones(2))
