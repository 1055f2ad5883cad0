import numpy as np
import torch

from digsite.read.core.population import stack_models, tabulate_features
from digsite.read.core.readers import spectra


def test_singular_values_are_the_svds():
    for shape in ((4, 7, 12), (4, 12, 7), (2, 1, 5)):
        w = torch.randn(shape)
        assert torch.allclose(spectra.singular_values(w), torch.linalg.svdvals(w.double()), atol=1e-6)


def test_kernels_are_flattened():
    assert spectra.as_matrices(torch.randn(2, 3, 4, 5, 5)).shape == (2, 3, 100)


def test_summary_of_a_known_matrix():
    table = tabulate_features(
        stack_models([{"a.weight": 3 * torch.eye(6), "b.weight": torch.ones(2, 6)}]), spectra.extract_spectra
    )
    value = dict(zip(table.names, table.values[0]))
    assert np.isclose(value["layer0/stable_rank"], 6) and np.isclose(value["layer0/effective_rank"], 6)
    assert np.isclose(value["layer0/log_top"], np.log(3)) and np.isnan(value["layer0/s6"])
