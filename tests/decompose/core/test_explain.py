import pytest
import torch

from digsite.base.errors import UsageError
from digsite.decompose.core.explain import attribute_components


def test_a_component_is_explained_by_its_inputs_and_outputs(exact, batch):
    found = exact.explain("0", 1, batch, n_top=5)
    assert all({2, 3} & set(inputs) for inputs in found.top_inputs)
    assert found.moved[0][0] == 1
    assert found.moved[0][1] > 0
    assert found.neuron == (1, pytest.approx(1.0))
    assert abs(found.singular[1]) == pytest.approx(1.0)
    assert 0.1 < found.share < 0.3


def test_each_neuron_feeds_its_own_output(exact, batch):
    found = attribute_components(exact, "0", "2", batch)
    assert (found.sources, found.destinations) == ([0, 1, 2, 3], [0, 1, 2, 3])
    own = found.strength.diagonal()
    assert (own > 0.01).all()
    torch.testing.assert_close(found.strength, torch.diag(own))


def test_nothing_flows_backward(exact, batch):
    with pytest.raises(UsageError, match="earlier module first"):
        attribute_components(exact, "2", "0", batch)
