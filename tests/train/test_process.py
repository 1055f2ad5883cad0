"""A prepared process has the threads asked for and keeps freed memory."""

import subprocess
import sys

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
