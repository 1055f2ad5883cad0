"""The ceiling is what measuring the same networks twice gives."""

import numpy as np
from scipy.stats import kendalltau
from sklearn.metrics import r2_score

from digsite.zoo import noise_ceiling


def test_ceiling_equals_a_second_measurement():
    rng = np.random.default_rng(0)
    truth = rng.beta(4, 1.5, 4000)
    measured = rng.binomial(200, truth) / 200
    found = noise_ceiling(measured, 200)
    assert abs(found.r2 - r2_score(measured, truth)) < 0.01
    assert abs(found.tau - kendalltau(measured, truth).statistic) < 0.02
