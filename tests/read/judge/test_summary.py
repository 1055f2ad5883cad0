from types import SimpleNamespace

import numpy as np

from digsite.read.core.metrics import Score
from digsite.read.core.tasks import TASKS
from digsite.read.judge import summary


def _outcome(best, statistics, hyper=0.6):
    taus = {"nwpa": best, "statistics": statistics, "constant": 0.0, "hyperparameters": hyper}
    score = {m: {"test_accuracy": {"tau": Score(v, v - 0.1, v + 0.1, 50)}} for m, v in taus.items()}
    return SimpleNamespace(
        scores=score, truth={"test_accuracy": np.zeros(3)}, tasks=[TASKS["test_accuracy"]], survivors={}
    )


def _extra(nwpa, statistics):
    found = {
        "nwpa": {"margins": {"test_accuracy": nwpa}},
        "statistics": {"margins": {"test_accuracy": statistics}},
    }
    return {"n_test": 50, "worth": {"nwpa": 12.0, "statistics": 3.0}, "runs": {}, "found": found}


def test_the_strongest_rival_is_named_be_it_a_reader_or_hyper_parameters():
    """On a mixed zoo it once said that no other reader was trained, when one was better."""
    said = summary.write_verdict(_outcome(0.8, 0.4), _extra(0.1, 0.2))
    assert said.startswith("'nwpa' ranks") and "'hyperparameters', reaches" in said
    assert "'statistics', reaches" in summary.write_verdict(_outcome(0.8, 0.9), _extra(0.1, 0.2))


def test_the_leading_reader_is_chosen_on_calibration_networks():
    assert summary.find_leading(_outcome(0.3, 0.5), _extra(0.1, 0.2), "test_accuracy") == "nwpa"
    assert summary.find_leading(_outcome(0.5, 0.3), _extra(0.2, 0.1), "test_accuracy") == "statistics"
