import numpy as np
import torch

from digsite.prune.core.patterns import parse_pattern, prune_groups
from digsite.prune.judge import cost

KEEP = np.random.default_rng(0).random((16, 32)) < 0.5


def test_bytes_are_counted_and_2_4_is_checked():
    plain = cost.measure_cost("x", KEEP, 2)
    assert plain.dense_bytes == 1024 and plain.mask_bytes == 64
    assert (
        plain.packed_bytes == 2 * int(KEEP.sum()) + 64
        and plain.two_four_bytes is None
        and "none" in plain.speedup
    )
    valid = ~prune_groups(
        torch.rand(16, 32, generator=torch.Generator().manual_seed(0)), parse_pattern(pattern="2:4")
    ).numpy()
    half = cost.measure_cost("y", valid, 2)
    assert half.two_four_bytes == 512 + 64 and "sparse tensor cores" in half.speedup


def test_the_page_promises_nothing():
    page = cost.write_page([cost.measure_cost("x", KEEP, 4)])
    assert "valid 2:4: 0 of 1" in page and "expect no speedup" in page
    assert "1.30x the dense speed" in cost.write_page([cost.measure_cost("x", KEEP, 4)], {"2:4 product": 1.3})
