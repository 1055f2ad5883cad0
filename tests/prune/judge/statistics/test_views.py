import numpy as np
import pytest

from digsite.prune.core.packed import pack
from digsite.prune.judge import statistics as module
from digsite.prune.judge.statistics import MaskView

KEEP = np.random.default_rng(0).random((24, 70)) < np.linspace(0.1, 0.9, 24)[:, None]


def test_phi_is_the_correlation_of_bits():
    phi = MaskView(pack(KEEP)).phi
    expected = np.corrcoef(KEEP)
    off = ~np.eye(24, dtype=bool)
    np.testing.assert_allclose(phi[off], expected[off], atol=1e-5)
    assert np.isnan(np.diag(phi)).all()
    constant = np.vstack([KEEP, np.ones((1, 70), bool)])
    assert (MaskView(pack(constant)).phi[-1, :-1] == 0).all()


@pytest.mark.parametrize("dense", [512, 4])
def test_the_top_singular_value_is_that_of_the_residual(monkeypatch, dense):
    monkeypatch.setattr(module, "DENSE", dense)
    residual = KEEP - np.outer(KEEP.sum(1), KEEP.sum(0)) / KEEP.sum()
    assert MaskView(pack(KEEP)).top_singular == pytest.approx(np.linalg.norm(residual, 2), rel=1e-4)
    assert MaskView(pack(KEEP.T)).top_singular == pytest.approx(np.linalg.norm(residual, 2), rel=1e-4)
