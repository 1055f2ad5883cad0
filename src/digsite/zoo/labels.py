"""What is true of the trained members: measured on clean labels, with the noise of each measurement."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.data.images import ImageSet
from digsite.train import Trained, attack_success, evaluate
from digsite.train.selection import select

BACKDOORED = 0.8  # attack success from which a poisoned member counts as backdoored


def measure(trained: Trained, images: ImageSet) -> pd.DataFrame:
    """One row per member: accuracies at every checkpoint, per class, gap, calibration, attack success."""
    ensemble = trained.ensemble
    last = evaluate(ensemble, images.x_test, images.y_test)
    seen = evaluate(ensemble, images.x_train, images.y_train)
    success = attack_success(ensemble, images.x_test, images.y_test)
    accuracy, n_test = _floats(last.accuracy), len(images.y_test)
    own = [torch.from_numpy(select(member, images.y_train).rows) for member in ensemble.members]
    # Of the images it was trained on, and by their true labels, whatever it was told.
    fitted = torch.stack([hits[rows].mean() for hits, rows in zip(seen.hits, own, strict=True)])
    columns = {
        "train_accuracy": _floats(fitted),
        "test_accuracy": accuracy,
        "generalization_gap": _floats(fitted - last.accuracy),
        "test_loss": _floats(last.loss),
        "calibration_error": _floats(last.calibration_error),
        "n_train": [len(rows) for rows in own],
        "n_test": n_test,
        # What a perfect reader could not know: the binomial error of the accuracy itself.
        "test_accuracy_se": np.sqrt(accuracy * (1 - accuracy) / n_test),
        "attack_success": _floats(success),
        "backdoor": _backdoor(success),
        "diverged_at": ensemble.diverged_at.cpu().numpy(),
        **{f"class_accuracy_{c}": _floats(last.per_class[:, c]) for c in range(last.per_class.shape[1])},
    }
    return pd.DataFrame({**columns, **_course(trained, images), **_weights(trained)})


def _course(trained: Trained, images: ImageSet) -> dict[str, np.ndarray]:
    """Test accuracy and loss at each checkpoint, where the loss was lowest, and how much it rose after that."""
    scores = [
        evaluate(trained.ensemble, images.x_test, images.y_test, flat=flat) for flat in trained.snapshots
    ]
    named = {
        f"test_accuracy@{step}": _floats(s.accuracy) for step, s in zip(trained.steps, scores, strict=True)
    }
    loss = torch.stack([s.loss for s in scores]).nan_to_num(torch.inf)
    best, where = loss.min(0)
    steps = torch.tensor(trained.steps)
    return {
        **named,
        "convergence_step": steps[where.cpu()].numpy(),
        "overfitting": _floats((loss[-1] - best) / best),
    }


def _weights(trained: Trained) -> dict[str, np.ndarray]:
    """Properties that are plain functions of the weights: they show whether a reader reads at all."""
    flat = trained.flat
    return {
        "weight_mean": _floats(flat.mean(1)),
        "weight_std": _floats(flat.std(1)),
        "sparsity": _floats((flat.abs() < 1e-6).float().mean(1)),
    }


def _backdoor(success: Tensor) -> list[float]:
    """1 where the attack works, 0 where none was planted, empty where one was planted and did not take."""
    return [0.0 if np.isnan(s) else 1.0 if s > BACKDOORED else np.nan for s in success.tolist()]


def _floats(value: Tensor) -> np.ndarray:
    return value.double().cpu().numpy()
