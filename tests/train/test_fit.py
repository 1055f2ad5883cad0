"""Checkpoints are the weights at their steps, with and without a callback."""

import subprocess
import sys

import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.models import build, parse
from digsite.train import Ensemble, Member, log_spaced, train_ensemble

MODEL = build(parse({"kind": "mlp", "sizes": [9, 6, 4]}))
DATA = torch.rand(40, 9, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4
MEMBERS = [Member(seed=0, steps=12, batch=8), Member(seed=1, steps=30, batch=8, optimizer="sgd", lr=0.1)]


@given(total=st.integers(1, 10**6), count=st.integers(2, 12))
def test_log_spaced_begins_ends_and_rises(total, count):
    steps = log_spaced(total, count)
    assert steps[0] == 0 and steps[-1] == total and len(steps) <= count
    assert list(steps) == sorted(set(steps))


def test_snapshots_are_the_weights_at_their_steps():
    trained = train_ensemble(MODEL, DATA, MEMBERS, checkpoints=[0, 5, 20, 30])
    stepped = Ensemble(MODEL, DATA, MEMBERS)
    kept = {0: stepped.flat}
    for step in range(1, 31):
        stepped.step()
        kept[step] = stepped.flat
    for at, step in enumerate(trained.steps):
        assert torch.equal(trained.snapshots[at], kept[step])
    assert torch.equal(trained.snapshots[2, 0], kept[12][0])
    assert torch.equal(trained.flat, trained.snapshots[-1])


def test_callback_sees_every_step_in_lockstep_and_changes_nothing():
    seen = []

    def note(step: int, ensemble: Ensemble) -> None:
        seen.append(step)
        ensemble.forward(DATA[0])
        assert ensemble.count == step

    followed = train_ensemble(MODEL, DATA, MEMBERS, checkpoints=[5, 30], callback=note, every=10)
    assert seen == [0, 10, 20, 30]
    plain = train_ensemble(MODEL, DATA, MEMBERS, checkpoints=[5, 30])
    assert torch.equal(followed.snapshots, plain.snapshots)
    assert torch.equal(followed.losses, plain.losses)


# A prepared process has the threads asked for and keeps freed memory.

CODE = """
import resource, torch
from digsite.train import prepare_process
tuned = prepare_process(1)
assert torch.get_num_threads() == 1
assert float(torch.tensor([1e-39]) * 0.5) == 0
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(4_000_000).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(tuned, faults())
"""


def test_freed_buffers_are_not_paged_in_again():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    tuned, again = done.stdout.split()
    # 20 buffers of 16 MB are 78,000 pages; a tuned process touches them for the first time only once.
    assert tuned == "False" or int(again) < 1000
