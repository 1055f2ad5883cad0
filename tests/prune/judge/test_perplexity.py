import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from digsite.prune.judge.perplexity import (
    logits_of,
    measure_drift,
    measure_perplexity,
    outputs_of,
    tell_apart,
)


class Always(nn.Module):
    """Gives token 1 probability 3/4, whatever it reads."""

    def forward(self, tokens):
        logits = torch.tensor([0.25, 0.75]).log()
        return logits.expand(*tokens.shape, 2)


def test_a_closed_case():
    windows = torch.tensor([[0, 1, 1], [1, 0, 1]])
    found = measure_perplexity(Always(), windows, n_bytes=10)
    nats = -(3 * math.log(0.75) + math.log(0.25)) / 4
    assert found.nats == pytest.approx(nats) and found.perplexity == pytest.approx(math.exp(nats))
    assert found.bits_per_byte == pytest.approx(4 * nats / math.log(2) / 10)
    assert (found.context, found.n_tokens) == (3, 4) and len(found.losses) == 2
    assert measure_perplexity(Always(), windows).bits_per_byte is None


def test_logits_are_found_inside_an_output():
    class Output:
        logits = torch.zeros(1, 2, 3)

    class Model(nn.Module):
        def forward(self, tokens):
            return Output()

    assert logits_of(Model(), torch.zeros(1, 2, dtype=torch.long)).shape == (1, 2, 3)


@given(scale=st.floats(0.0, 2.0))
def test_shrinking_the_deviation_from_the_mean_is_measured_in_spreads(scale):
    before = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(0))
    mean = before.mean(0, keepdim=True)
    found = measure_drift(before, mean + (before - mean) * scale, logits=False)
    assert found.distance == pytest.approx((1 - scale) ** 2, abs=1e-4) and found.null == 1.0


def test_answers_are_compared_by_kl_beside_the_mean_answer():
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    q = torch.tensor([[0.25, 0.75], [0.9, 0.1]])
    found = measure_drift(p.log(), q.log(), logits=True)
    wanted = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert found.distance == pytest.approx(wanted / 2, rel=1e-5) and found.agreement == 0.5
    mean = p.mean(0)
    assert found.null == pytest.approx(float((p * (p / mean).log()).sum(1).mean()), rel=1e-5)


def test_an_unchanged_model_has_not_moved():
    model = torch.nn.Linear(3, 4)
    x = torch.randn(6, 3)
    found = measure_drift(outputs_of(model, x), outputs_of(model, {"input": x}), logits=False)
    assert found.distance == 0 and found.agreement == 1 and "moved by 0" in found.sentence()


def losses(**columns):
    return pd.DataFrame(columns)


def test_methods_are_ranked_only_where_the_interval_of_their_difference_leaves_out_zero():
    noise = np.array(
        [0.0, 0.01, 0.02, 0.03, 0.04]
    )  # one calibration set is harder than another, for all methods
    apart = losses(sparsegpt=1 + noise, wanda=1.02 + 1.1 * noise, magnitude=1.5 + 1.2 * noise)
    told = tell_apart(apart)
    assert (told.best, told.second, told.ties, told.order) == ("sparsegpt", "wanda", (), "holds")
    assert told.margin.low == pytest.approx(0.02)  # though the two intervals of the losses themselves overlap

    crossed = losses(sparsegpt=1 + noise, wanda=1.02 - noise, magnitude=1.5 + 1.2 * noise)
    told = tell_apart(crossed)
    assert told.order == "cannot be told" and set(told.ties) == {"sparsegpt", "wanda"} - {told.best}


def test_the_usual_order_may_not_hold_and_few_sets_tell_nothing():
    noise = np.array([0.0, 0.01, 0.02, 0.03, 0.04])
    turned = losses(sparsegpt=2 + 1.1 * noise, wanda=1 + noise, magnitude=3 + 1.2 * noise)
    assert tell_apart(turned).order == "does not hold"
    few = losses(sparsegpt=[1.0, 1.1], wanda=[2.0, 2.2], magnitude=[3.0, 3.0])
    assert tell_apart(few).ties == ("wanda", "magnitude") and tell_apart(few).order == "cannot be told"
    assert tell_apart(losses(wanda=[1.0, 1.1])).ties == ()


def test_large_outputs_are_thinned_out_as_they_come_and_all_rows_alike(monkeypatch):
    """Every few positions of every row, whatever number of rows is run together; a part that is kept is no view of the whole."""
    model, rows = nn.Embedding(11, 6), torch.randint(0, 11, (5, 12))
    monkeypatch.setattr("digsite.prune.judge.perplexity.MOST_NUMBERS", 100)
    for at_once in (1, 2, 5):
        kept = outputs_of(model, rows, at_once)
        assert torch.equal(kept, model(rows)[:, ::4]) and kept.untyped_storage().nbytes() == 4 * kept.numel()
