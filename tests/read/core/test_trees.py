import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from digsite.read.core import trees


def _data(missing: bool):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    y = x[:, 0] + (x[:, 1] > 0)
    if missing:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x, y


@pytest.mark.parametrize("missing", [False, True])
def test_regression_is_scikit_learns(missing):
    x, y = _data(missing)
    forest = trees.grow_regression(x, y, 3, max_iter=20)
    model = HistGradientBoostingRegressor(**(trees._default_options(3, len(x)) | {"max_iter": 20})).fit(x, y)
    assert np.allclose(forest.raw(x)[:, 0], model.predict(x), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_scikit_learns(classes):
    x, y = _data(True)
    labels = np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))
    forest = trees.grow_classes(x, labels, 3, max_iter=15)
    model = HistGradientBoostingClassifier(**(trees._default_options(3, len(x)) | {"max_iter": 15})).fit(
        x, labels
    )
    assert np.allclose(trees.class_probabilities(forest, x), model.predict_proba(x), atol=1e-6)


def test_restored_from_tensors():
    x, y = _data(True)
    forest = trees.grow_regression(x, y, 3, max_iter=10)
    assert np.allclose(trees.restore_forest(forest.tensors()).raw(x), forest.raw(x), atol=1e-6)


def test_regression_is_ridge_on_standardized_columns():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)) * [1, 10, 0.1, 3] + 5, rng.normal(size=80)
    z = (x - x.mean(0)) / (x.std(0) + 1e-12)
    expected = RidgeCV(np.logspace(-2, 5, 15)).fit(z, y).predict(z)
    model = trees.fit_ridge(x, y)
    assert np.allclose(model.raw(x)[:, 0], expected)
    assert np.allclose(trees.restore_linear(model.tensors()).raw(x), model.raw(x))


def test_missing_columns_count_as_average():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=80)
    model = trees.fit_ridge(x, y)
    assert np.allclose(model.raw(np.array([[np.nan, 0.5]])), model.raw(np.array([[x[:, 0].mean(), 0.5]])))


def test_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = (x[:, 0] > 0).astype(int) + (x[:, 0] > 1)
    assert (trees.fit_class_lines(x, y).raw(x).argmax(1) == y).mean() > 0.8
