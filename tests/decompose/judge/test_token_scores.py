"""Scores of decompositions of token models whose answer is known."""

import pytest
import torch

from digsite.decompose.judge import token_scores
from digsite.decompose.subjects.tasks import Task


@pytest.fixture
def task(exact):
    return Task(exact.model, lambda g: g, lambda g: g, lambda x: x[:, ::2].argmax(-1))


def test_an_exact_decomposition_recovers_everything(exact, batch, task):
    (row,) = token_scores.score(exact, task, [batch], 0.1)
    assert row["kl_recovered/rounded"] == pytest.approx(1, abs=1e-4)
    assert row["kl_recovered/ci"] == pytest.approx(1, abs=1e-4)
    assert row["kl_recovered/random_masks"] < 0.9
    on = (torch.relu(batch[:, ::2] + batch[:, 1::2]) > 0).sum(-1).float().mean()
    assert row["0/ci_l0"] == pytest.approx(float(on), rel=0.02)
    assert row["ci_l0"] == row["0/ci_l0"] + row["2/ci_l0"]
    assert row["0/alive_components"] == 4
    assert row["faithfulness"] == pytest.approx(0, abs=1e-10)


def test_rows_are_per_batch_and_their_mean_is_the_mean(exact, batch, task):
    rows = token_scores.score(exact, task, [batch[:100], batch[100:]], 0.1)
    mean = token_scores.mean(rows)
    assert mean["ce/target"] == pytest.approx((rows[0]["ce/target"] + rows[1]["ce/target"]) / 2)
