"""Two processes that share the batches of a step are one process that accumulates them."""

import subprocess
import sys

import torch

from digsite.decompose.core import parallel

CODE = """
import sys, torch
from torch import distributed as dist
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.subjects import sample
rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
if size > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
config = DecomposeConfig.model_validate({"C": 6, "steps": 4, "compile": "never", "accumulate": 2 // size})
fit = Fit(Problem([sample.pairs()], ["0", "2"], sample.inputs), config, [0], dtype=torch.float64)
for step in range(4):
    fit.step(step)
if rank == 0:
    torch.save(fit.member(0), f"{folder}/{size}.pt")
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
    parallel.average([value])
    assert parallel.place() == (0, 1)
    assert torch.equal(value, torch.ones(2))
