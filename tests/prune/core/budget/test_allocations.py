import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.prune.core.budget.search import outlier_share, spread_by_outliers


def test_outliers_are_counted_over_all_maps_of_a_layer():
    scores = [torch.tensor([[1.0, 1.0, 30.0]]), torch.tensor([[1.0, 1.0]])]
    assert outlier_share(scores, 4.0) == pytest.approx(20.0)


def test_owl_keeps_the_mean_and_the_spread():
    found = np.array(spread_by_outliers([1.0, 2.0, 4.0], 0.7, 0.08))
    assert found.mean() == pytest.approx(0.7) and np.ptp(found) == pytest.approx(0.16)
    assert found[0] > found[1] > found[2]
    assert spread_by_outliers([3.0, 3.0], 0.5, 0.1) == [0.5, 0.5]


def test_a_spread_that_leaves_the_unit_interval_is_refused():
    with pytest.raises(UsageError, match="asks some layer for all of its weights"):
        spread_by_outliers([0.0, 1.0], 0.95, 0.2)
