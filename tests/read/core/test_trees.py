import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

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
    forest = trees.fit_regression(x, y, 3, max_iter=20)
    model = HistGradientBoostingRegressor(**(trees._defaults(3, len(x)) | {"max_iter": 20})).fit(x, y)
    assert np.allclose(forest.raw(x)[:, 0], model.predict(x), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_scikit_learns(classes):
    x, y = _data(True)
    labels = np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))
    forest = trees.fit_classes(x, labels, 3, max_iter=15)
    model = HistGradientBoostingClassifier(**(trees._defaults(3, len(x)) | {"max_iter": 15})).fit(x, labels)
    assert np.allclose(trees.probabilities(forest, x), model.predict_proba(x), atol=1e-6)


def test_restored_from_tensors():
    x, y = _data(True)
    forest = trees.fit_regression(x, y, 3, max_iter=10)
    assert np.allclose(trees.restore(forest.tensors()).raw(x), forest.raw(x), atol=1e-6)
