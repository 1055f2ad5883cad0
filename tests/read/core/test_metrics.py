import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from digsite.read.core import metrics
from digsite.read.core.tasks import ReadTask

REGRESSION = ReadTask("x", "regression")


def _classification(n):
    return ReadTask("x", "classification", classes=tuple(map(str, range(n))))


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_classification_scores_agree_with_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    y, answer = rng.integers(0, classes, 30), rng.dirichlet(np.ones(classes), 30)
    found = metrics.score_answers(_classification(classes), y.astype(float), answer)
    labels = list(range(classes))
    p, r, f, _ = precision_recall_fscore_support(
        y, answer.argmax(1), labels=labels, average="weighted", zero_division=0
    )
    assert found["accuracy"] == pytest.approx(accuracy_score(y, answer.argmax(1)))
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((p, r, f))


@given(st.integers(0, 10_000))
def test_auroc_agrees_with_scikit_learn_also_with_ties(seed):
    rng = np.random.default_rng(seed)
    y = np.r_[True, False, rng.random(20) < 0.5]
    score = rng.integers(0, 5, 22).astype(float)
    assert metrics.measure_auroc(y, score) == pytest.approx(roc_auc_score(y, score))


def test_regression_scores():
    y, answer = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 5])
    found = metrics.score_answers(REGRESSION, y, answer)
    assert found["tau"] == pytest.approx(kendalltau(y, answer).statistic)
    assert (found["mse"], found["mae"], found["r2"]) == pytest.approx((0.75, 0.75, 0.4))


def test_constant_answers_rank_nothing():
    assert metrics.score_answers(REGRESSION, np.arange(5.0), np.ones(5))["tau"] == 0


def test_interval_covers_the_mean_of_normal_errors():
    """Mean absolute error of half-normal draws, whose mean is known: the 95 % interval holds it in about 95 %."""
    truth, held = np.sqrt(2 / np.pi), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=80)
        s = metrics.bootstrap_scores(REGRESSION, y, np.zeros(80), rng, 100)["mae"]
        held += s.low <= truth <= s.high
    assert 50 <= held <= 60


def test_paired_difference_of_equal_answers_is_zero():
    rng = np.random.default_rng(0)
    y = rng.normal(size=30)
    s = metrics.bootstrap_difference(REGRESSION, y, y + 1, y + 1, "mae", rng, 20)
    assert (s.value, s.low, s.high) == (0, 0, 0)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=200), rng.normal(size=200)
    s = metrics.bootstrap_difference(
        REGRESSION, y, y + noise, y + noise + 0.01, "mse", np.random.default_rng(1), 100
    )
    alone = metrics.bootstrap_scores(REGRESSION, y, y + noise, np.random.default_rng(1), 100)["mse"]
    assert s.high - s.low < 0.2 * (alone.high - alone.low)
