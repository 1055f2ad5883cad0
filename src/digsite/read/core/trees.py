"""Boosted trees and linear maps as plain arrays, so that a trained reader is a safetensors file and not a pickle.

scikit-learn fits them and is imported only then: answering with them needs none of its 90 MB.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_FIELDS = ("feature", "threshold", "left", "right", "value")


@dataclass(frozen=True)
class Forest:
    """Nodes of all trees end to end; `roots` is (rounds, outputs). A leaf points to itself."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    missing_left: np.ndarray
    roots: np.ndarray
    baseline: np.ndarray
    depth: int

    def raw(self, x: np.ndarray) -> np.ndarray:
        """(members, outputs): the sum over trees, found by walking all of them at once."""
        at = np.broadcast_to(self.roots.ravel(), (len(x), self.roots.size)).copy()
        rows = np.arange(len(x))[:, None]
        for _ in range(self.depth):
            cell = x[rows, self.feature[at]]
            go_left = np.where(np.isnan(cell), self.missing_left[at], cell <= self.threshold[at])
            at = np.where(go_left, self.left[at], self.right[at])
        sums = self.value[at].reshape(len(x), *self.roots.shape).sum(1)
        return sums + self.baseline

    def tensors(self) -> dict[str, Tensor]:
        """In 11 bytes a node: children as steps from their parent, and a leaf's value in place of a threshold."""
        own = np.arange(len(self.feature))
        leaf = self.left == own
        stored = {
            "feature": self.feature.astype(np.int16),
            "left": (self.left - own).astype(np.int16),
            "right": (self.right - own).astype(np.int16),
            "number": np.where(leaf, self.value, self.threshold).astype(np.float32),
            "missing_left": self.missing_left,
            "roots": self.roots.astype(np.int32),
            "baseline": self.baseline,
            "depth": np.array([self.depth]),
        }
        return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in stored.items()}


def restore_forest(tensors: dict[str, Tensor]) -> Forest:
    """The forest whose `tensors()` these are; thresholds come back as rounded, so a saved one decides like the trained one."""
    arrays = {k: t.numpy() for k, t in tensors.items()}
    own, number = np.arange(len(arrays["feature"])), arrays["number"].astype(np.float64)
    leaf = arrays["left"] == 0
    return Forest(
        feature=arrays["feature"].astype(int),
        threshold=np.where(leaf, 0.0, number),
        left=own + arrays["left"],
        right=own + arrays["right"],
        value=np.where(leaf, number, 0.0),
        missing_left=arrays["missing_left"],
        roots=arrays["roots"].astype(int),
        baseline=arrays["baseline"],
        depth=int(arrays["depth"][0]),
    )


def grow_regression(x: np.ndarray, y: np.ndarray, seed: int, **options: Any) -> Forest:
    """Trees for numbers: `x` (members, features) with NaN for what a network lacks, `y` (members,). `options` overrule."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(**(_default_options(seed, len(x)) | options))
    return _export_trees(model.fit(x, y))


def grow_classes(x: np.ndarray, y: np.ndarray, seed: int, **options: Any) -> Forest:
    """Trees for classes: `y` (members,) counts from 0 and every class occurs."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(**(_default_options(seed, len(x)) | options))
    return _export_trees(model.fit(x, y))


def class_probabilities(forest: "Forest | Linear", x: np.ndarray) -> np.ndarray:
    """(members, classes) from one raw score per class, or from the one score of a yes/no question."""
    raw = forest.raw(x)
    if raw.shape[1] == 1:
        raw = np.concatenate([np.zeros_like(raw), raw], 1)
    raw = np.exp(raw - raw.max(1, keepdims=True))
    return raw / raw.sum(1, keepdims=True)


def widen_classes(probabilities: np.ndarray, seen: Sequence[int], n_classes: int) -> np.ndarray:
    """(members, n_classes): a column of zeros for each class that training never showed.

    `probabilities`: (members, len(seen)), with a column for each class of `seen`, in order.
    """
    if probabilities.shape[1] == n_classes:
        return probabilities
    out = np.zeros((len(probabilities), n_classes))
    out[:, list(seen)] = probabilities[:, : len(seen)]
    return out


def _default_options(seed: int, n: int) -> dict[str, Any]:
    """Leaves of 20 networks in a large zoo, fewer in a small one; more than 32 bins cost time and add nothing."""
    return {
        "min_samples_leaf": int(np.clip(n // 20, 2, 20)),
        "max_iter": 200,
        "learning_rate": 0.06,
        "max_leaf_nodes": 15,
        "max_features": 0.3,
        "max_bins": 32,
        "early_stopping": False,
        "random_state": seed % 2**32,
    }


def _rounded_up(threshold: np.ndarray) -> np.ndarray:
    """As stored, so that a saved forest decides as the trained one: up, as a threshold may be a value of the data."""
    near = threshold.astype(np.float32)
    return np.where(near < threshold, np.nextafter(near, np.float32(np.inf)), near).astype(np.float64)


def _export_trees(model: Any) -> Forest:
    """scikit-learn keeps its trees in private arrays; a test holds this copy to `predict`."""
    parts: dict[str, list[np.ndarray]] = {k: [] for k in (*_FIELDS, "missing_left")}
    roots, offset, depth = [], 0, 0
    for round_ in model._predictors:
        row = []
        for tree in round_:
            nodes = tree.nodes
            leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
            parts["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
            parts["threshold"].append(_rounded_up(nodes["num_threshold"]))
            parts["left"].append(np.where(leaf, own, nodes["left"]) + offset)
            parts["right"].append(np.where(leaf, own, nodes["right"]) + offset)
            parts["value"].append(np.where(leaf, nodes["value"], 0.0))
            parts["missing_left"].append(nodes["missing_go_to_left"].astype(bool))
            row.append(offset)
            offset, depth = offset + len(nodes), max(depth, int(nodes["depth"].max()))
        roots.append(row)
    joined = {k: np.concatenate(v) for k, v in parts.items()}
    baseline = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1)
    return Forest(roots=np.array(roots), baseline=baseline, depth=depth, **joined)


# Ridge and logistic regression on standardized features, as plain arrays.


@dataclass(frozen=True)
class Linear:
    """A standardized linear map as arrays."""

    center: np.ndarray
    scale: np.ndarray
    weight: np.ndarray  # (outputs, features)
    bias: np.ndarray

    def raw(self, x: np.ndarray) -> np.ndarray:
        """(members, outputs) of features `x` (members, features); a missing feature counts as the training mean."""
        return np.nan_to_num((x - self.center) / self.scale) @ self.weight.T + self.bias

    def tensors(self) -> dict[str, Tensor]:
        """Its four arrays, for a file."""
        return {
            k: torch.from_numpy(np.atleast_1d(getattr(self, k)))
            for k in ("center", "scale", "weight", "bias")
        }


def restore_linear(tensors: dict[str, Tensor]) -> Linear:
    """The map whose `tensors()` these are."""
    return Linear(**{k: t.numpy() for k, t in tensors.items()})


def fit_ridge(x: np.ndarray, y: np.ndarray) -> Linear:
    """Ridge regression whose penalty is chosen by leave-one-out over seven decades: flat weights outnumber networks."""
    from sklearn.linear_model import RidgeCV

    center, scale, z = _standardize_columns(x)
    model = RidgeCV(np.logspace(-2, 5, 15)).fit(z, y)
    return Linear(
        center, scale, np.atleast_2d(np.asarray(model.coef_)), np.atleast_1d(np.asarray(model.intercept_))
    )


def fit_class_lines(x: np.ndarray, y: np.ndarray) -> Linear:
    """Logistic regression with a fixed penalty: the linear baseline of classes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    center, scale, z = _standardize_columns(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline: a few hundred iterations are enough
        model = LogisticRegression(C=0.1, max_iter=200).fit(z, y)
    return Linear(center, scale, model.coef_, model.intercept_)


def _standardize_columns(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NaN become the mean."""
    center = np.nanmean(x, 0)
    scale = np.nanstd(x, 0) + 1e-12
    return center, scale, np.nan_to_num((x - center) / scale)
