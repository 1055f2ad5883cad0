"""Scores agree with scikit-learn and with their definitions."""

import numpy as np
import torch
from sklearn.metrics import accuracy_score, log_loss, recall_score

from digsite.models import build, parse
from digsite.train import Backdoor, Ensemble, Member, attack_success, evaluate, train_ensemble

MODEL = build(parse({"kind": "mlp", "sizes": [9, 6, 4]}))
X, Y = torch.rand(200, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 4


def test_scores_equal_scikit_learn():
    ensemble = Ensemble(MODEL, (X, Y), [Member(seed=s, init="normal", init_scale=0.5) for s in range(3)])
    scores = evaluate(ensemble, X, Y, batch=64)
    for k, chances in enumerate(ensemble.forward(X).softmax(-1).numpy()):
        answers = chances.argmax(1)
        assert np.isclose(scores.accuracy[k], accuracy_score(Y, answers))
        assert np.isclose(scores.loss[k], log_loss(Y, chances), rtol=1e-5)
        assert np.allclose(scores.per_class[k], recall_score(Y, answers, average=None, zero_division=0))
        assert np.isclose(scores.calibration_error[k], calibration(chances.max(1), answers == Y.numpy()))


def calibration(sure: np.ndarray, hit: np.ndarray) -> float:
    """The definition, bin by bin."""
    place = np.minimum((sure * 15).astype(int), 14)
    bins = [place == b for b in range(15) if (place == b).any()]
    return sum(own.mean() * abs(sure[own].mean() - hit[own].mean()) for own in bins)


def test_attack_success_of_a_trained_backdoor_and_of_none():
    door = Backdoor(2, row=0, column=0, height=2, width=2, value=3.0, rate=0.4)
    members = [Member(seed=0, lr=0.02, steps=200, backdoor=door), Member(seed=1, lr=0.02, steps=200)]
    success = attack_success(train_ensemble(MODEL, (X, Y), members).ensemble, X, Y)
    assert success[0] > 0.9 and torch.isnan(success[1])
