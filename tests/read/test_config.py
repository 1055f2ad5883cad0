import pytest
from pydantic import ValidationError

from digsite.read.config import CONFIGS, NwaConfig

# The options of the original command line and their defaults.
ORIGINAL = {
    "num_models": 100,
    "val_split": 0.15,
    "test_split": 0.15,
    "batch_size": 32,
    "epochs": 50,
    "hidden_dim": 128,
    "num_layers": 3,
    "dropout": 0.1,
    "lr": 0.001,
    "weight_decay": 1e-5,
    "use_attention": False,
    "save_model": False,
    "eval_only": False,
    "model_path": "",
}


def test_original_options_keep_their_names_and_defaults():
    config = NwaConfig.model_validate({})
    assert {k: getattr(config, k) for k in ORIGINAL} == ORIGINAL


@pytest.mark.parametrize("kind", ["nwpa", "statistics", "pca", "all", "statistics,nwpa"])
def test_model_types(kind):
    assert NwaConfig.model_validate({"model_type": kind}).kinds()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "gnn"}, "no reader 'gnn'"),
        ({"val_split": 0.6, "test_split": 0.5}, "leave nothing"),
        ({"eval_only": True}, "needs model_path"),
        ({"model_path": "x"}, "no effect"),
        ({"num_models": 20}, "30"),
    ],
)
def test_refusals(values, words):
    with pytest.raises(ValidationError, match=words):
        NwaConfig.model_validate(values)


def test_methods_have_configs():
    from digsite.read.run import METHODS

    assert METHODS.keys() == CONFIGS.keys()
