import pytest
import torch

from digsite.base.errors import UsageError
from digsite.decompose.core.attributions import attribute


def test_each_neuron_feeds_its_own_output(exact, batch):
    found = attribute(exact, "0", "2", batch)
    assert (found.sources, found.destinations) == ([0, 1, 2, 3], [0, 1, 2, 3])
    own = found.strength.diagonal()
    assert (own > 0.01).all()
    torch.testing.assert_close(found.strength, torch.diag(own))


def test_nothing_flows_backward(exact, batch):
    with pytest.raises(UsageError, match="earlier module first"):
        attribute(exact, "2", "0", batch)
