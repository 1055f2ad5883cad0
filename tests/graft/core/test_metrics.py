import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.graft.core import metrics

LOGITS = torch.tensor([[5.0, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0], [5, 0, 4, 0], [0, 0, 5, 1], [0, 0, 1, 5]])
Y = torch.tensor([0, 1, 2, 2, 3, 3])  # old 0 and 1, new 2, foreign 3


def test_scores_by_hand():
    s = metrics.score_logits(LOGITS, Y, [0, 1], [2], [3])
    assert (s.transfer, s.preservation, s.foreign_as_new) == (50, 100, 50)
    assert (s.foreign_not_foreign, s.foreign_accuracy, s.foreign_not_new) == (50, 50, 50)
    # margins: new 5 and -1, foreign 4 and -4, so 3 of 4 pairs are in order
    assert s.auc == 75 and s.auc_old == 100


def test_no_foreign_images_is_not_a_number():
    assert np.isnan(metrics.score_logits(LOGITS[:4], Y[:4], [0, 1], [2], [3]).auc)


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.02, 0.1]))
def test_calibration_gives_the_rate_it_promises(seed, rate):
    logits = torch.randn(1000, 4, generator=torch.Generator().manual_seed(seed))
    shift = metrics.find_shift(logits, [3], rate)
    moved = logits + torch.tensor([0, 0, 0, shift])
    assert abs((moved.argmax(1) == 3).float().mean().item() - rate) <= 0.002


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0])
def test_a_rate_out_of_range(rate):
    with pytest.raises(UsageError, match="out of range"):
        metrics.find_shift(LOGITS, [2], rate)


@given(st.lists(st.floats(0, 100), min_size=5, max_size=8, unique=True))
def test_the_interval_reaches_from_the_least_to_the_greatest_of_a_few_seeds(values):
    at = metrics.percent_interval(values)
    assert (at.low, at.value, at.high) == (min(values), pytest.approx(np.median(values)), max(values))


def test_one_seed_has_no_interval():
    one = metrics.percent_interval([3.0])
    assert (one.value, one.low, one.high, one.n) == (3.0, None, None, 1)
    assert metrics.percent_interval([]).n == 0


def test_paired_differences():
    assert metrics.paired_interval([3.0, 5.0], [1.0, 2.0]).value == 2.5


def test_rows_of_the_f_matrix_and_confusion():
    assert metrics.count_called_new(LOGITS, Y, [2]) == {0: 0.0, 1: 0.0, 2: 50.0, 3: 50.0}
    assert metrics.count_confusion(LOGITS, Y, 4).tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 1, 1],
    ]
