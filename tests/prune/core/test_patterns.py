import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from digsite.base.errors import UsageError
from digsite.prune.core import patterns
from digsite.prune.core.patterns import SparsityPattern

# Few distinct values, so that ties are the rule.
scores = arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(2, 24)), elements=st.integers(0, 5).map(float)
)


@given(scores, st.floats(0.01, 0.99))
def test_rows_lose_their_lowest_with_ties_to_the_lower_index(values, ratio):
    pruned = patterns.prune_rows(torch.from_numpy(values), ratio).numpy()
    count = int(values.shape[1] * ratio)
    order = np.argsort(values, axis=1, kind="stable")[:, :count]
    expected = np.zeros_like(pruned)
    np.put_along_axis(expected, order, True, axis=1)
    assert (pruned == expected).all()


@given(scores, st.floats(0.01, 0.99))
def test_one_group_loses_everything_up_to_the_next_value(values, ratio):
    pruned = patterns.prune_together(torch.from_numpy(values), ratio).numpy()
    threshold = np.sort(values.ravel())[int(values.size * ratio)]
    assert (pruned == (values <= threshold)).all() and pruned.sum() > int(values.size * ratio)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (1, 3), (3, 4)])
def test_groups_lose_exactly_n_of_m(n, m):
    values = torch.rand(7, 24, generator=torch.Generator().manual_seed(n))
    pattern = patterns.parse_pattern(pattern=f"{n}:{m}")
    pruned = patterns.prune_groups(values, pattern)
    grouped, lost = values.view(7, -1, m), pruned.view(7, -1, m)
    assert (lost.sum(-1) == n).all()
    assert (grouped.masked_fill(~lost, -1).amax(-1) <= grouped.masked_fill(lost, 2).amin(-1)).all()
    assert patterns.count_violations(~pruned, pattern) == 0
    assert patterns.count_violations(torch.ones_like(pruned), pattern) == 7 * 24 // m


def test_other_devices_and_types_take_torchs_selection():
    values = torch.rand(4, 30, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    assert (patterns.prune_rows(values, 0.5).sum(1) == 15).all()


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.2, 1.7])
def test_a_ratio_outside_of_0_to_1_is_refused(ratio):
    with pytest.raises(UsageError, match=r"outside \(0, 1\)"):
        patterns.parse_pattern(ratio)


@pytest.mark.parametrize("text", ["2:2", "4:2", "0:4", "half", "2;4"])
def test_a_bad_pattern_is_refused(text):
    with pytest.raises(UsageError, match="is not a pattern"):
        patterns.parse_pattern(pattern=text)


def test_a_pattern_that_does_not_divide_is_refused():
    with pytest.raises(UsageError, match="2:4 does not divide the 10 inputs of 'x'"):
        SparsityPattern(0.5, 2, 4).fits(10, "'x'")
    assert str(SparsityPattern(0.5, 2, 4)) == "2:4" and str(SparsityPattern(0.6)) == "60%"
