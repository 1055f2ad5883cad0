import pytest
import torch

from digsite.base.errors import NotFound
from digsite.graft.core.nets import count_parameters
from digsite.graft.subjects.couples import NETWORKS, collect_states, find_network, rebuild_couple
from digsite.models import build

CLASSIC = {
    "simple": 52_650,
    "mega": 575_050,
    "cnn_base": 1_199_882,
}  # the last as documented, with ten outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_sees_both_image_sizes(name):
    for image in ((1, 8, 8), (1, 28, 28)):
        assert build(find_network(name, image, 10))(torch.zeros(2, *image)).shape == (2, 10)


@pytest.mark.parametrize("name", CLASSIC)
def test_sizes_are_the_originals(name):
    assert count_parameters(build(find_network(name, (1, 28, 28), 10))) == CLASSIC[name]


def test_a_network_that_is_not_there():
    with pytest.raises(NotFound, match="Did you mean 'mega'"):
        find_network("megaa", (1, 8, 8), 10)


def test_a_couple_is_read_back_as_it_was(room, started):
    for theatre in (room, started):
        again = rebuild_couple(theatre.names, theatre.data, theatre.classes, collect_states(theatre.pair))
        x = theatre.data.test.x[:4]
        assert torch.equal(again.receiver(x), theatre.pair.receiver(x))
        assert torch.equal(again.donor(x), theatre.pair.donor(x))
        assert (again.start is None) == (theatre.pair.start is None)
