import numpy as np
import pytest

from digsite.prune.core.packed import pack
from digsite.prune.judge import views as module
from digsite.prune.judge.views import View

KEEP = np.random.default_rng(0).random((24, 70)) < np.linspace(0.1, 0.9, 24)[:, None]


def test_phi_is_the_correlation_of_bits():
    phi = View(pack(KEEP)).phi
    expected = np.corrcoef(KEEP)
    off = ~np.eye(24, dtype=bool)
    np.testing.assert_allclose(phi[off], expected[off], atol=1e-5)
    assert np.isnan(np.diag(phi)).all()
    constant = np.vstack([KEEP, np.ones((1, 70), bool)])
    assert (View(pack(constant)).phi[-1, :-1] == 0).all()


@pytest.mark.parametrize("dense", [512, 4])
def test_the_top_singular_value_is_that_of_the_residual(monkeypatch, dense):
    monkeypatch.setattr(module, "DENSE", dense)
    residual = KEEP - np.outer(KEEP.sum(1), KEEP.sum(0)) / KEEP.sum()
    assert View(pack(KEEP)).top_singular == pytest.approx(np.linalg.norm(residual, 2), rel=1e-4)
    assert View(pack(KEEP.T)).top_singular == pytest.approx(np.linalg.norm(residual, 2), rel=1e-4)
