from types import SimpleNamespace

import numpy as np

from digsite.read.core.metrics import Score
from digsite.read.judge import summary


def _outcome(best, statistics):
    taus = {"nwpa": best, "statistics": statistics, "constant": 0.0, "hyperparameters": 0.6}
    score = {m: {"test_accuracy": {"tau": Score(v, v - 0.1, v + 0.1, 50)}} for m, v in taus.items()}
    lead = Score(best - statistics, best - statistics - 0.05, best - statistics + 0.05, 50)
    return SimpleNamespace(
        scores=score,
        truth={"test_accuracy": np.zeros(3)},
        differences={"nwpa": {"test_accuracy": lead}},
        tasks=[],
        survivors={},
    )


EXTRA = {"n_test": 50, "worth": {"nwpa": 12.0, "statistics": 3.0}, "runs": {}}


def test_sentences_follow_the_numbers():
    assert "above what the hyper-parameters" in summary.verdict(_outcome(0.8, 0.4), EXTRA)
    assert "lead over plain statistics is 0.40" in summary.verdict(_outcome(0.8, 0.4), EXTRA)
    assert "below what the hyper-parameters" in summary.verdict(_outcome(0.5, 0.48), EXTRA)
    assert "within noise" in summary.verdict(_outcome(0.5, 0.48), EXTRA)


def test_the_best_reader_is_named_even_when_it_is_the_plain_one():
    assert summary.verdict(_outcome(0.3, 0.5), EXTRA).startswith("statistics ranks")
