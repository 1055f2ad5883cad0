import pytest
from pydantic import ValidationError

from digsite.prune.config import CONFIGS, ClustersConfig, QualityConfig
from digsite.prune.run import METHODS
from digsite.prune.subjects.language import recipe_of


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


def test_a_methods_own_numbers_are_set_by_its_name():
    config = ClustersConfig.model_validate({"settings": {"sparsegpt": {"damping": 0.1}}})
    assert recipe_of(config, "sparsegpt").settings == {"damping": 0.1}
    assert recipe_of(config, "wanda").settings == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sparsegpt": {"dampng": 0.1}}, "has no setting 'dampng'. Did you mean 'damping'"),
        ({"sparsgpt": {"damping": 0.1}}, "there is no pruning method 'sparsgpt'"),
        ({"wanda": {"power": 1}}, "has no setting 'power'. It has none"),
        ({"sparsegpt": {"bits": 3.5}}, "is a whole number, not 3.5"),
    ],
)
def test_a_number_that_a_method_does_not_have_is_refused_when_the_run_is_planned(settings, words):
    with pytest.raises(ValidationError, match=words):
        ClustersConfig.model_validate({"settings": settings})


@pytest.mark.parametrize(
    "settings", [{"methods": ["wanda", "ria", "wanda"]}, {"levels": ["50%", "2:4", "50%"]}]
)
def test_a_cell_of_the_table_is_asked_for_once(settings):
    with pytest.raises(ValidationError, match="twice"):
        QualityConfig.model_validate(settings)
