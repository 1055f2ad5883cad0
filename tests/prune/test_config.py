import pytest
from pydantic import ValidationError

from digsite.prune.config import CONFIGS, ClustersConfig
from digsite.prune.run import METHODS


def test_every_config_has_its_method():
    assert set(CONFIGS) == set(METHODS)
    for config in CONFIGS.values():
        assert config().seed >= 0


def test_the_originals_options_have_their_names_and_values():
    config = ClustersConfig()
    assert (config.method, config.layer, config.component) == ("wanda", 1, "mlp.down_proj")
    assert (config.seeds, config.n_similar, config.k_values, config.output_dir) == (10, 128, [4, 8, 16], "")
    assert (CONFIGS["single"]().seed, CONFIGS["single"]().n_features, CONFIGS["single"]().n_clusters) == (
        42,
        128,
        8,
    )
    assert CONFIGS["repeat"]().n_executions == 10


@pytest.mark.parametrize(
    "bad", [{"sparsity": 1.0}, {"n_similar": 1}, {"nulls": {"trades": 2}}, {"k_values": []}]
)
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        ClustersConfig(**bad)
