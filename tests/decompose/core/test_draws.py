import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.decompose.core.draws import count_rows_needed, find_filled_rows, merge_zero_rows


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.03, 0.3, 1.0]), st.integers(1, 90))
def test_every_row_is_counted_once(seed, share, capacity):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(80, 3, generator=generator) * (torch.rand(80, 3, generator=generator) < share)
    merged, counts = merge_zero_rows(x, capacity)
    assert counts.sum() == 80
    assert torch.equal(merged[find_filled_rows(merged)], x[find_filled_rows(x)])
    torch.testing.assert_close((merged.square().sum(1) * counts).sum(), x.square().sum())


def test_room_is_left_for_later_batches():
    x = torch.zeros(1000, 2)
    x[:100] = 1
    assert 140 <= count_rows_needed(x) <= 160
    assert count_rows_needed(torch.ones(1000, 2)) == 1000
