import numpy as np
import torch
from sklearn.decomposition import PCA

from digsite.read.core.population import stack_models
from digsite.read.core.readers import pca


def test_components_are_scikit_learns_up_to_sign():
    people = stack_models([{"a.weight": torch.randn(4, 5), "b.weight": torch.randn(2, 4)} for _ in range(30)])
    state = pca.fit_pca(people, np.ones(30))
    _, values = pca.extract_pca(people.groups[0], state=state)
    flat = torch.cat([t.flatten(1) for t in people.groups[0].tensors.values()], 1).numpy()
    expected = PCA(28, svd_solver="full").fit_transform(flat)
    assert np.allclose(np.abs(values[:, :5]), np.abs(expected[:, :5]), atol=1e-4)


def test_other_shapes_have_no_columns():
    people = stack_models([{"a.weight": torch.randn(4, 5)} for _ in range(3)])
    other = stack_models([{"a.weight": torch.randn(4, 6)}])
    assert pca.extract_pca(other.groups[0], state=pca.fit_pca(people, np.ones(3)))[0] == []
