"""Splits keep groups whole, take the share asked for, and never change."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import r2_score

from digsite.base.errors import UsageError
from digsite.zoo import noise_ceiling
from digsite.zoo.zoo import KEYS, split_members


def table(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    return pd.DataFrame(
        {
            "run": np.repeat(np.arange(n), 2),
            "dataset": rng.choice(["a", "b", "c"], 2 * n),
            "architecture": rng.integers(0, 4, 2 * n),
            "optimizer": rng.choice(["sgd", "adam"], 2 * n),
            "activation": rng.choice(["relu", "tanh"], 2 * n),
        }
    )


@given(n=st.integers(20, 60), by=st.sampled_from(sorted(KEYS)), seed=st.integers(0, 5))
def test_groups_stay_whole_and_all_members_are_used_once(n, by, seed):
    labels = table(n)
    parts = split_members(labels, by, test=0.3, seed=seed)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(together) == list(range(2 * n)) and len(parts.train) and len(parts.test)
    sides = [set(map(tuple, labels.loc[side, KEYS[by]].to_numpy())) for side in (parts.train, parts.test)]
    assert not sides[0] & sides[1]
    again = split_members(labels, by, test=0.3, seed=seed)
    assert np.array_equal(again.test, parts.test)


def test_shares_are_those_asked_for():
    parts = split_members(table(100), "run", test=0.3, validation=0.1)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (120, 20, 60)


def test_wrong_questions_are_sentences():
    with pytest.raises(UsageError, match="no split by 'rum'. Did you mean 'run'"):
        split_members(table(20), "rum")
    with pytest.raises(UsageError, match="leave nothing to train on"):
        split_members(table(20), "run", test=0.8, validation=0.2)
    with pytest.raises(UsageError, match="needs more groups: this zoo has 1"):
        split_members(table(20).assign(dataset="a"), "dataset")


# The ceiling is what measuring the same networks twice gives.


def test_ceiling_equals_a_second_measurement():
    rng = np.random.default_rng(0)
    truth = rng.beta(4, 1.5, 4000)
    measured = rng.binomial(200, truth) / 200
    found = noise_ceiling(measured, 200)
    assert abs(found.r2 - r2_score(measured, truth)) < 0.01
    assert abs(found.tau - kendalltau(measured, truth).statistic) < 0.02
