import numpy as np
from sklearn.linear_model import RidgeCV

from digsite.read.core import linear


def test_regression_is_ridge_on_standardized_columns():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)) * [1, 10, 0.1, 3] + 5, rng.normal(size=80)
    z = (x - x.mean(0)) / (x.std(0) + 1e-12)
    expected = RidgeCV(np.logspace(-2, 5, 15)).fit(z, y).predict(z)
    model = linear.fit_regression(x, y)
    assert np.allclose(model.raw(x)[:, 0], expected)
    assert np.allclose(linear.restore(model.tensors()).raw(x), model.raw(x))


def test_missing_columns_count_as_average():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=80)
    model = linear.fit_regression(x, y)
    assert np.allclose(model.raw(np.array([[np.nan, 0.5]])), model.raw(np.array([[x[:, 0].mean(), 0.5]])))


def test_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = (x[:, 0] > 0).astype(int) + (x[:, 0] > 1)
    assert (linear.fit_classes(x, y).raw(x).argmax(1) == y).mean() > 0.8
