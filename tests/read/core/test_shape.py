import pytest
import read_networks

from digsite.base.errors import UsageError
from digsite.read.core.edges import compile_population
from digsite.read.core.population import population
from digsite.read.core.shape import shape_of


@pytest.mark.parametrize("name", read_networks.ALL)
def test_counts_the_functions_that_edges_have(name):
    people = population([read_networks.make(name)])
    shape, member = shape_of(people), compile_population(people, True)[0]
    assert sorted(set(shape.keys.values())) == sorted({e.shape[1] for e in member.edges})


def test_strangers_are_named():
    mlp, cnn = (shape_of(population([read_networks.make(n)])) for n in ("relu mlp", "small cnn"))
    mlp.refuse_strangers(mlp)
    with pytest.raises(UsageError, match="'conv:first'"):
        mlp.refuse_strangers(cnn)
