"""Ridge and logistic regression on standardized features, as plain arrays."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from torch import Tensor


@dataclass(frozen=True)
class Linear:
    center: np.ndarray
    scale: np.ndarray
    weight: np.ndarray  # (outputs, features)
    bias: np.ndarray

    def raw(self, x: np.ndarray) -> np.ndarray:
        return np.nan_to_num((x - self.center) / self.scale) @ self.weight.T + self.bias

    def tensors(self) -> dict[str, Tensor]:
        return {
            k: torch.from_numpy(np.atleast_1d(getattr(self, k)))
            for k in ("center", "scale", "weight", "bias")
        }


def restore(tensors: dict[str, Tensor]) -> Linear:
    return Linear(**{k: t.numpy() for k, t in tensors.items()})


def fit_regression(x: np.ndarray, y: np.ndarray) -> Linear:
    center, scale, z = _standardized(x)
    model = RidgeCV(np.logspace(-2, 5, 15)).fit(z, y)
    return Linear(
        center, scale, np.atleast_2d(np.asarray(model.coef_)), np.atleast_1d(np.asarray(model.intercept_))
    )


def fit_classes(x: np.ndarray, y: np.ndarray) -> Linear:
    center, scale, z = _standardized(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline: a few hundred iterations are enough
        model = LogisticRegression(C=0.1, max_iter=200).fit(z, y)
    return Linear(center, scale, model.coef_, model.intercept_)


def _standardized(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    center = np.nanmean(x, 0)
    scale = np.nanstd(x, 0) + 1e-12
    return center, scale, np.nan_to_num((x - center) / scale)
